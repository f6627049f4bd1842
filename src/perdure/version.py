"""The version of perdure."""

from importlib.metadata import version

__version__ = version("perdure")
