"""Lets ComfyUI load this repository as it is cloned into custom_nodes.

The node pack is client_py/hearth; it is reached by a relative import, because ComfyUI imports this
file under a name made from its path and keeps generic names on sys.path for itself.
"""

from .client_py.hearth import __getattr__ as __getattr__

WEB_DIRECTORY = "client_py/hearth/web"
