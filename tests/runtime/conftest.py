from tests.support.removals import weights

__all__ = ["weights"]
