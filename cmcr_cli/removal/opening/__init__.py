"""Everything that a removal needs open before it begins: weights, scene, radar, mask and workers."""
