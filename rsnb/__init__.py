"""rsnb: five remote-sensing methods as reproducible notebooks over one small package.

Importing `rsnb` loads nothing heavy: each room (`rsnb.geometry`, `rsnb.mesh`, ...) is imported on its own.
"""

__version__ = "0.1.0"
