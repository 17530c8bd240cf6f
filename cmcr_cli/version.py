"""The version of cmcr; the build reads it here, and outputs name it in their tags.

Between releases it is that of the next one with `.dev0`, so that no output claims to be made by a release.
"""

__version__ = "0.5.0.dev0"
