from tests.support.removals import make_scene, options, scene, weights

__all__ = ["make_scene", "options", "scene", "weights"]
