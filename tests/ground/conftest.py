from tests.support.rasters import write

__all__ = ["write"]
