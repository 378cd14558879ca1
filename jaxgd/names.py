"""From written names to the objects that they name: landscapes, optimizers, and anybody's own of either.

One grammar serves the command line and a landscape's `default_optimizer`:

    sgd:learning_rate=0.005,momentum=0.9      a builder of jaxgd or optax with arguments
    sgd:0.005                                 the same, the first argument without its name
    sgd(0.005, momentum=0.9)                  the same, as Python writes it
    optax.lbfgs                               optax's own where jaxgd has one of the same name
    package.module:attribute                  anything importable, a builder or a finished object
    path/to/file.py:attribute                 the same in a file

A plain function of params is a landscape where a law of starts called `sample` stands beside it.
"""

import ast
import difflib
import functools
import importlib
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import optax

from jaxgd import landscapes, transforms
from jaxgd.base import InputTypeError, InputValueError, Landscape
from jaxgd.checks import first_line
from jaxgd.importing import import_file

_RATES = ("learning_rate", "step_size")


def find_landscape(name: str, arguments: Mapping[str, Any] | None = None) -> Landscape:
    """Returns the landscape that `name` names, built with `arguments` where it is a builder.

    Raises:
      InputValueError: nothing has this name (the nearest one is suggested), or an argument is wrong.
      InputTypeError: what has this name is no landscape.
    """
    own, given = _split(name)
    given.update(arguments or {})
    found = _imported(own) if ":" in own else _listed(own, landscape_builders(), "landscape", "landscapes")
    given = _with_first_named(found, given)
    if ":" in own and not given and _is_value(found):
        return _with_sample(own, found)
    landscape = found if isinstance(found, Landscape) and not given else _built(own, found, given)
    if not isinstance(landscape, Landscape):
        raise InputTypeError(f"`{name}` is a {type(landscape).__name__}, not a jaxgd.Landscape.")
    return landscape


def written_landscape(name: str, texts: Mapping[str, str]) -> Landscape:
    """Returns the landscape that `name` names, built with arguments as the command line has them.

    Raises:
      InputValueError, InputTypeError: as `find_landscape`.
    """
    return find_landscape(name, {argument: parse_value(text) for argument, text in texts.items()})


def is_foreign(name: str) -> bool:
    """Returns whether a name stands for code outside jaxgd and optax.

    Example:
      >>> is_foreign("sgd:learning_rate=0.1"), is_foreign("my_module:my_optimizer")
      (False, True)
    """
    return ":" in _split(name)[0]


def find_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    """Returns the optimizer that `name` names, for example "sgd:learning_rate=0.005" or "my_module:my_optimizer".

    Raises:
      InputValueError: nothing has this name (the nearest one is suggested), or an argument is wrong.
      InputTypeError: what has this name is no gradient transformation.

    Example:
      >>> state = (optax.EmptyState(), optax.EmptyState())
      >>> tuple(find_optimizer(name).update(2.0, state)[0] for name in ("sgd:learning_rate=0.1", "sgd(0.1)"))
      (-0.2, -0.2)
    """
    if is_foreign(name):
        return _new_optimizer(name)  # code outside jaxgd may have changed since
    return _kept_optimizer(name, jax.config.jax_enable_x64)  # type: ignore[attr-defined]


@functools.lru_cache(maxsize=64)
def _kept_optimizer(name: str, is_x64: bool) -> optax.GradientTransformationExtraArgs:
    """Returns the same object for the same name, so that the programs compiled for it are found again."""
    return _new_optimizer(name)


def _new_optimizer(name: str) -> optax.GradientTransformationExtraArgs:
    own, given = _split(name)
    found = _imported(own) if ":" in own else _listed(own, optimizer_builders(), "optimizer", "optimizers")
    given = _with_first_named(found, given)
    for rate in _RATES:
        value = given.get(rate)
        if isinstance(value, (int, float)) and not 0 < value < float("inf"):
            raise InputValueError(f"`{rate}` must be positive and finite, got {value}.")
    is_finished = isinstance(found, tuple)  # a GradientTransformation is a pair
    if not is_finished and callable(found) and "key" in inspect.signature(found).parameters and "key" not in given:
        given["key"] = jax.random.key(0)  # replaced in every lane by the engine
    optimizer = found if is_finished and not given else _built(own, found, given)
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise InputTypeError(f"`{name}` is a {type(optimizer).__name__}, not an optax.GradientTransformation.")
    return optax.with_extra_args_support(optimizer)


def landscape_builders() -> dict[str, Callable[..., Landscape]]:
    """Returns jaxgd's own landscapes by name."""
    return {name: getattr(landscapes, name) for name in landscapes.__all__}


def optimizer_builders() -> dict[str, Callable[..., Any]]:
    """Returns every builder of a gradient transformation in jaxgd and optax by name, jaxgd's first.

    Where both have a name, it means jaxgd's; optax's stays reachable as `optax.NAME`.
    """
    builders = {f"jaxgd.{name}": getattr(transforms, name) for name in transforms.__all__}
    builders = {name: fn for name, fn in builders.items() if inspect.isfunction(fn)}
    for module in (optax.contrib, optax):
        for name in dir(module):
            fn = getattr(module, name)
            if not name.startswith("_") and inspect.isfunction(fn) and _gives_transformation(fn):
                builders[f"optax.{name}"] = fn
    bare = {name.partition(".")[2]: fn for name, fn in reversed(builders.items())}
    return {**builders, **bare}


def signature(builder: Callable[..., Any]) -> str:
    """Returns a builder's arguments as a person would type them, required ones without a value."""
    shown = []
    for name, parameter in inspect.signature(builder).parameters.items():
        if parameter.default is inspect.Parameter.empty:
            shown.append(name)
        elif parameter.default is None or isinstance(parameter.default, (bool, int, float, str, tuple)):
            shown.append(f"{name}={parameter.default}")
    return ", ".join(shown)


def parse_value(text: str) -> Any:
    """Returns a number, bool, None, tuple or the text itself: what `text` reads as.

    Example:
      >>> parse_value("4"), parse_value("1e-3"), parse_value("16,16"), parse_value("true"), parse_value("tanh")
      (4, 0.001, (16, 16), True, 'tanh')
    """
    words = {"true": True, "false": False, "none": None, "nan": math.nan, "inf": math.inf, "-inf": -math.inf}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def parse_arguments(text: str) -> dict[str, Any]:
    """Returns the arguments written as "name=value,name=value"; a comma inside brackets does not split.

    The first may be a value alone: it stands under the empty name.

    Raises:
      InputValueError: a piece is not of the form name=value, or a name comes twice.
    """
    if not text.strip():
        return {}

    # split at the commas outside of brackets
    pieces, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += letter

    arguments: dict[str, Any] = {}
    for place, piece in enumerate(pieces):
        name, equals, value = piece.partition("=")
        if not equals and place == 0 and piece.strip():
            arguments[""] = parse_value(piece)
            continue
        if not equals or not name.strip().isidentifier():
            raise InputValueError(f"arguments are written name=value, got `{piece}`.")
        if name.strip() in arguments:
            raise InputValueError(f"argument `{name.strip()}` is given twice.")
        arguments[name.strip()] = parse_value(value)
    return arguments


def _split(name: str) -> tuple[str, dict[str, Any]]:
    """Returns (name or module:attribute, arguments)."""
    name = name.strip()
    if name.endswith(")") and "(" in name:
        own, _, rest = name[:-1].partition("(")
        return own.strip(), parse_arguments(rest)
    own, colon, rest = name.rpartition(":")
    if colon and ("=" in rest or isinstance(parse_value(rest), (int, float))):
        return own, parse_arguments(rest)
    return name, {}


def _with_first_named(builder: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments with the builder's name for one that was written without."""
    if "" not in arguments or not callable(builder):
        return arguments
    first = next(iter(inspect.signature(builder).parameters), "")
    if first in arguments:
        raise InputValueError(f"argument `{first}` is given twice.")
    return {first or name if name == "" else name: value for name, value in arguments.items()}


def _is_value(found: Any) -> bool:
    """Returns whether what was imported is a function of params rather than a builder of a landscape."""
    if isinstance(found, (Landscape, type)) or not callable(found):
        return False
    signature = inspect.signature(found)
    required = [p for p in signature.parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    return len(required) == 1 and "Landscape" not in str(signature.return_annotation)


def _with_sample(name: str, value: Callable[..., Any]) -> Landscape:
    """Returns the landscape of a function and the law of starts that stands beside it."""
    where, _, attribute = name.rpartition(":")
    try:
        sample = _imported(f"{where}:sample")
    except InputValueError as error:
        (needed,) = [p.name for p in inspect.signature(value).parameters.values() if p.default is p.empty]
        raise InputTypeError(
            f"`{name}` is a function of `{needed}`: to descend it, define `sample` beside it, for example"
            f" `sample = jaxgd.box(-2, 2, dim=3)`; if it builds a landscape, write {name}:{needed}=..."
        ) from error
    return Landscape(value=value, sample=sample, name=attribute)


def _listed(name: str, builders: Mapping[str, Any], kind: str, command: str) -> Any:
    if name in builders:
        return builders[name]
    if name.endswith(".py"):
        raise InputValueError(f"`{name}` is a file; say what of it you mean: `{name}:attribute`.")
    near = difflib.get_close_matches(name, builders, n=1, cutoff=0.5)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise InputValueError(f"there is no {kind} named `{name}`.{hint} `jaxgd {command}` lists them all.")


def _imported(name: str) -> Any:
    where, _, attribute = (part.strip() for part in name.rpartition(":"))
    if where.endswith(".py"):
        found: Any = import_file(Path(where))
    else:
        if "" not in sys.path:
            sys.path.insert(0, "")  # modules beside the caller, as with `python -m`
        try:
            found = importlib.import_module(where)
        except (Exception, SystemExit) as error:
            raise InputValueError(f"importing `{where}` raised {type(error).__name__}: {first_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            near = difflib.get_close_matches(part, dir(found), n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise InputValueError(f"`{where}` has no attribute `{attribute}`.{hint}")
        found = getattr(found, part)
    return found


def _built(name: str, builder: Any, arguments: Mapping[str, Any]) -> Any:
    if not callable(builder):
        raise InputTypeError(f"`{name}` is a finished {type(builder).__name__} and takes no arguments.")

    # arguments that it does not have
    parameters = inspect.signature(builder).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for argument in arguments:
        if argument not in parameters and not takes_any:
            near = difflib.get_close_matches(argument, parameters, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise InputValueError(
                f"`{name}` has no argument `{argument}`.{hint} It takes: {signature(builder) or '-'}."
            )

    # arguments that it needs
    missing = [
        key
        for key, p in parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and key not in arguments
    ]
    if missing:
        raise InputValueError(f"`{name}` needs {', '.join(f'`{m}`' for m in missing)}; write {name}:{missing[0]}=...")

    try:
        return builder(**arguments)
    except Exception as error:
        raise InputValueError(f"`{name}` refused its arguments: {first_line(error)}") from error


def _gives_transformation(fn: Callable[..., Any]) -> bool:
    """Returns whether a function gives a gradient transformation and can be built from written arguments."""
    if "GradientTransformation" not in str(inspect.signature(fn).return_annotation):
        return False
    required = [p for p in inspect.signature(fn).parameters.values() if p.default is p.empty]
    written = ("float", "int", "str", "bool", "Scalar", "Numeric", "Schedule", "_empty")
    return all(
        p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        and "Transformation" not in str(p.annotation)
        and any(word in str(p.annotation) for word in written)
        for p in required
    )
