"""A Python file as a module, imported as if it were run as a script.

What works in a script should work here: dataclasses look their module up by name, so it has one that is known; modules
beside the file are found first, and also by functions that import only when they are called, so its folder stays on the
path. A helper of the same name beside an earlier file makes way for the one beside this file.
"""

import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from jaxgd.base import InputValueError
from jaxgd.checks import first_line

_folders: set[str] = set()  # of the files that were imported


def import_file(path: Path) -> ModuleType:
    """Returns the module that a Python file makes when it is run now, under another name than `__main__`.

    Raises:
      InputValueError: there is no such file, or it raises; the message says what and where.
    """
    if not path.is_file():
        raise InputValueError(f"there is no file `{path}`.")
    whole = path.resolve()
    name = f"jaxgd:{whole}".replace(".", "_")  # a dot would make it part of a package
    spec = importlib.util.spec_from_file_location(name, whole)
    if spec is None or spec.loader is None:
        raise InputValueError(f"`{path}` is not a Python file.")

    # dataclasses look their module up by name, so it must be known while it runs
    module = importlib.util.module_from_spec(spec)
    _enter(str(whole.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(whole)]
        where = f" in line {lines[-1]}" if lines else ""
        raise InputValueError(
            f"importing `{path}` raised {type(error).__name__}{where}: {first_line(error)}"
        ) from error
    return module


def _enter(folder: str) -> None:
    """Puts the folder first on the path, and forgets what other files' folders have under the names of its modules."""
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    others = _folders - {folder}
    _folders.add(folder)
    tops = {name: module for name, module in sys.modules.items() if "." not in name and _folder_of(module) in others}
    hidden = {name for name in tops if (Path(folder) / name).exists() or (Path(folder) / f"{name}.py").exists()}
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]


def _folder_of(module: ModuleType) -> str | None:
    """Returns the folder in which a module, or the folder of a package, lies."""
    file, places = getattr(module, "__file__", None), list(getattr(module, "__path__", ()))
    if places:
        return str(Path(places[0]).parent)
    return str(Path(file).parent) if file else None
