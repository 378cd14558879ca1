"""Conversion of what users write into the library's types, or an error of one sentence.

Public functions on landscapes are decorated with `front_door`. Before such a function is called,

    landscape      a Landscape, a registered name, or a plain function with `sample=` or `starts=`
    optimizer      a transformation, a written name, or nothing for the landscape's default
    seed=0         stands for key=jax.random.key(0)
    max_steps=...  and the other fields of Stop stand for a Stop with these fields
    progress       True, False, a function, or nothing: a bar in terminals and notebooks

become a Landscape, a transformation, a key, a Stop and a function; unknown keywords are rejected with the most similar
known one. The decorated functions see only the library's types.
"""

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, overload

import jax
import numpy as np

from jaxgd import names
from jaxgd.base import Ends, InputTypeError, Key, Landscape, Points, Restart, Stop
from jaxgd.checks import check_count, check_key, check_params, check_share, check_starts, what_is
from jaxgd.platforms import in_full_precision
from jaxgd.progress import shown

R = TypeVar("R")

_RULES = tuple(item.name for item in fields(Stop))
_FILLED = ("key", "optimizer", "stop", "progress")
_REQUIRED = inspect.Parameter.empty


@overload
def front_door(function: Callable[..., R]) -> Callable[..., R]: ...


@overload
def front_door(
    *, phase: str | None = None, takes_names: bool = False, is_lazy: bool = False
) -> Callable[[Callable[..., R]], Callable[..., R]]: ...


def front_door(
    function: Callable[..., Any] | None = None,
    *,
    phase: str | None = None,
    takes_names: bool = False,
    is_lazy: bool = False,
) -> Callable[..., Any]:
    """Returns a function that accepts what users write; see the module's docstring.

    Args:
      function: the function to decorate; those of the parameters `landscape`, `optimizer`, `key`, `stop`, `starts` and
        `progress` that it has are filled in.
      phase: name of the phase, if the function calls its `progress` as (done, total) only.
      takes_names: written optimizers and None are passed on unchanged, since the function needs the words.
      is_lazy: the function returns before its work is done, so no bar can be shown.
    """
    if function is None:
        return lambda function: front_door(function, phase=phase, takes_names=takes_names, is_lazy=is_lazy)  # type: ignore[call-overload]
    signature = inspect.signature(function)
    takes = signature.parameters
    is_open = any(each.kind is each.VAR_KEYWORD for each in takes.values())  # then any keyword is allowed
    extra = _extra_parameters(takes, is_open)

    @functools.wraps(function)
    @in_full_precision
    def call(*args: Any, **given: Any) -> Any:
        given = _by_name(function.__name__, takes, extra, is_open, args, given)

        # First the checks that need no landscape.
        for name, check in ((name, check) for name, check in _CHECKS.items() if name in takes):
            if given.get(name) is not None or (name in given and takes[name].default is _REQUIRED):
                check(name, given[name])

        # Convert the landscape, the optimizer, the key and the stop rule, in this order.
        if "landscape" in takes:
            given["landscape"] = as_landscape(
                given["landscape"], sample=given.pop("sample", None), starts=given.get("starts")
            )
        if "optimizer" in takes and not (takes_names and isinstance(given.get("optimizer"), str | None)):
            given["optimizer"] = as_optimizer(given.get("optimizer"), given.get("landscape"))
        if "key" in takes:
            given["key"] = as_key(given.get("key"), given.pop("seed", None) if "seed" in extra else None)
        if "stop" in takes:
            rules = {rule: given.pop(rule) for rule in _RULES if rule in extra and rule in given}
            given["stop"] = as_stop(given.get("stop"), rules, given.get("landscape"))

        # A bar is shown only if the work is done before the call returns.
        if is_lazy and given.get("progress") in (None, False):
            given["progress"] = None
        if "progress" not in takes or is_lazy:
            return function(**given)
        with shown(given.get("progress"), phase) as given["progress"]:
            return function(**given)

    filled = [each.replace(default=None) if each.name in _FILLED else each for each in takes.values()]
    call.__signature__ = signature.replace(parameters=_in_order([*filled, *extra.values()]))  # type: ignore[attr-defined]
    return call


def as_landscape(given: Any, *, sample: Any = None, starts: Any = None) -> Landscape:
    """Returns the landscape given by an object, a registered name or a plain function.

    The same function with the same law gives the same landscape object, so that compiled programs are reused.

    Args:
      given: a Landscape, a name such as "mueller_brown" or "file.py:attribute", or a function of params.
      sample: the law of its starts; required for a plain function unless there are `starts`; replaces the law of a
        landscape.
      starts: explicit starts, params with one leading axis; a random one of them is then a random start.

    Raises:
      InputTypeError: it is none of these, or a function without `sample` and `starts`.
      InputValueError: nothing has this name.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxgd.start_laws import box
      >>> as_landscape(jnp.sin, sample=box(0, 6)).name, as_landscape("mueller_brown").name
      ('sin', 'mueller_brown')
    """
    if sample is not None and (not callable(sample) or isinstance(sample, type)):
        raise InputTypeError(
            "`sample` must be a law of starts such as jaxgd.box(-2, 2, dim=3), or a function of a key,"
            f" got {what_is(sample)}."
        )

    if isinstance(given, str):
        given = _named(given) if ":" not in given else names.find_landscape(given)
    if isinstance(given, Landscape):
        return given if sample is None else _cached(_with_law, given, sample)

    # From here on, `given` must be a plain function.
    if not callable(given) or isinstance(given, type) or is_dataclass(given):
        raise InputTypeError(
            f"`landscape` must be a jaxgd.Landscape, a function of params or a name, got {what_is(given)}."
        )
    if given in names.landscape_builders().values():
        raise InputTypeError(
            f"`{given.__name__}` builds a landscape: call it, jaxgd.landscapes.{given.__name__}(...), or write its name"
            f' "{given.__name__}".'
        )

    # A function needs starts: a law, or explicit ones.
    if sample is None and starts is not None:
        check_starts(starts)
        sample = one_of(starts)
    if sample is None:
        name = getattr(given, "__name__", "f")
        raise InputTypeError(
            f"`{name}` is a plain function: say where its starts come from, for example"
            " sample=jaxgd.box(-2, 2, dim=3), sample=jaxgd.normal_like(params) or a function of a key."
        )
    return _cached(_of_function, given, sample)


def one_of(starts: Any) -> Callable[[Any], Any]:
    """Returns the law that draws one of these starts, params with one leading axis."""
    starts = jax.tree.map(jax.numpy.asarray, starts)
    num = check_starts(starts)
    return lambda key: jax.tree.map(lambda leaf: leaf[jax.random.randint(key, (), 0, num)], starts)


def as_optimizer(given: Any, landscape: Landscape | None = None) -> Any:
    """Returns the transformation given by an object, a written name such as "adam(0.05)", or None.

    Raises:
      InputTypeError: it is none of these.
      InputValueError: nothing has this name, or its arguments are wrong.
    """
    if given is None and landscape is not None:
        given = landscape.default_optimizer
    if isinstance(given, str):
        return names.find_optimizer(given)
    if hasattr(given, "init") and hasattr(given, "update") and not isinstance(given, type):
        return given
    if inspect.isfunction(given):
        name = given.__name__
        raise InputTypeError(
            f"`optimizer` is the function `{name}` itself: call it, for example optax.{name}(0.01), or write"
            f' "{name}(0.01)".'
        )
    raise InputTypeError(
        f'`optimizer` must be an optax.GradientTransformation such as optax.sgd(0.01), or a name such as "sgd(0.01)",'
        f" got {what_is(given)}."
    )


def as_key(key: Any, seed: Any = None) -> Any:
    """Returns the key given by a key or a seed.

    Raises:
      InputTypeError: neither or both are given, or one is of the wrong kind.
      InputValueError: the seed is negative or too large.
    """
    if key is not None and seed is not None:
        raise InputTypeError("give either `key` or `seed`, not both.")
    if seed is not None:
        return jax.random.key(check_count("seed", seed, low=0, high=2**63))
    if key is None:
        raise InputTypeError("give `seed=0` or `key=jax.random.key(0)`: the starts are random.")
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        raise InputTypeError(f"`key` must be one key such as jax.random.key({key}), got a number; write seed={key}.")
    return check_key(key)


def as_stop(stop: Any, rules: dict[str, Any], landscape: Landscape | None = None) -> Stop | None:
    """Returns the stop rule given by a Stop, with fields replaced by rules written as keywords.

    Raises:
      InputTypeError: `stop` is something else. InputValueError: a rule is invalid.
    """
    if stop is not None and not isinstance(stop, Stop):
        write = "max_steps=1000 or stop=jaxgd.Stop(max_steps=1000)"
        if stop is Stop:
            write = "stop=jaxgd.Stop()"
        elif isinstance(stop, (int, np.integer)) and not isinstance(stop, bool):
            write = f"max_steps={stop}"
        elif isinstance(stop, (float, np.floating)):
            write = f"gradient_norm={stop}"
        raise InputTypeError(f"`stop` must be a jaxgd.Stop, got {what_is(stop)}; write {write}.")
    if not rules:
        return stop
    return replace(stop or (landscape.default_stop if landscape else Stop()), **rules)


# ------------------------------------------------------------------------------------------------- arguments


def _extra_parameters(takes: Any, is_open: bool) -> dict[str, inspect.Parameter]:
    """Returns the keywords that are accepted in addition to those of the function."""
    wanted = []
    if "landscape" in takes:
        wanted.append("sample")
    if not is_open:
        wanted += ["seed"] if "key" in takes else []
        wanted += _RULES if "stop" in takes else []
    kinds = {
        "sample": Callable[[Key], Any] | None,
        "seed": int | None,
        **{rule.name: rule.type for rule in fields(Stop)},
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    return {
        name: inspect.Parameter(name, keyword, default=None, annotation=kinds[name])
        for name in wanted
        if name not in takes
    }


def _in_order(listed: list[inspect.Parameter]) -> list[inspect.Parameter]:
    """Returns parameters in an order that Python allows, positional ones with defaults after those without."""
    ordered = sorted(listed, key=lambda each: each.kind)
    has_default = False
    for place, each in enumerate(ordered):
        if each.kind is each.POSITIONAL_OR_KEYWORD:
            has_default |= each.default is not _REQUIRED
            if has_default and each.default is _REQUIRED:
                ordered[place] = each.replace(default=None)
    return ordered


def _by_name(
    function: str, takes: Any, extra: Any, is_open: bool, args: tuple[Any, ...], given: dict[str, Any]
) -> dict[str, Any]:
    """Returns all arguments by name.

    Raises:
      InputTypeError: there are too many, one is unknown, given twice or missing.
    """
    places = [each.name for each in takes.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
    if len(args) > len(places):
        raise InputTypeError(
            f"`{function}` takes {len(places)} arguments by position ({', '.join(places)}), got {len(args)};"
            " write the others by name."
        )
    for name in places[: len(args)]:
        if name in given:
            raise InputTypeError(f"`{function}` got `{name}` twice, by position and by name.")

    # Unknown names.
    given = dict(zip(places, args, strict=False)) | given
    known = [*takes, *extra]
    for name in given:
        if name not in known and not is_open:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean `{near[0]}`?" if near else f" It takes: {', '.join(known)}."
            raise InputTypeError(f"`{function}` has no argument `{name}`.{hint}")

    # Missing arguments.
    for name, each in takes.items():
        if each.default is _REQUIRED and each.kind is not each.VAR_KEYWORD and name not in (*given, *_FILLED):
            raise InputTypeError(f"`{function}` needs `{name}`.")
    return given


def _check_points(name: str, given: Any) -> None:
    if not isinstance(given, Points):
        raise InputTypeError(f"`{name}` must be what jaxgd.classify returns, got {what_is(given)}.")


def _check_restart(name: str, given: Any) -> None:
    if not isinstance(given, Restart):
        raise InputTypeError(f"`{name}` must be a jaxgd.Restart, got {what_is(given)}.")


def _check_events(name: str, given: Any) -> None:
    if not isinstance(given, Mapping) or not all(isinstance(event, str) for event in given):
        raise InputTypeError(f'`{name}` must be a dictionary such as {{"low": lambda params, value, grad: value < 0}}.')
    for event, fires in given.items():
        if not callable(fires):
            raise InputTypeError(
                f"event `{event}` must be a function of (params, value, gradient), got {what_is(fires)}."
            )


def _check_ends(name: str, given: Any) -> None:
    if isinstance(given, Points):
        raise InputTypeError(f"`{name}` must be Ends or params, got Points; hand in their `.params`.")
    if not isinstance(given, Ends) and any(np.size(leaf) for leaf in jax.tree.leaves(given)):
        check_params(given, f"`{name}`")


def _check_builder(name: str, given: Any) -> None:
    if not callable(given) or isinstance(given, type):
        raise InputTypeError(
            f"`{name}` must be a function that builds an optimizer, such as optax.sgd, got {what_is(given)}."
        )


_CHECKS: dict[str, Callable[[str, Any], None]] = {
    "builder": _check_builder,
    "ends": _check_ends,
    "points": _check_points,
    "restart": _check_restart,
    "events": _check_events,
    "confidence": check_share,
    "until": check_share,
}


# ------------------------------------------------------------------------------------------------ landscapes


def _cached(build: Callable[..., Landscape], *parts: Any) -> Landscape:
    """Returns what `build` makes of these parts; the same object for the same parts, if they are hashable."""
    try:
        hash(parts)
    except TypeError:
        return build.__wrapped__(*parts)  # type: ignore[attr-defined]
    return build(*parts)


@functools.lru_cache(maxsize=128)
def _of_function(value: Callable[..., Any], sample: Callable[..., Any]) -> Landscape:
    name = getattr(value, "__name__", type(value).__name__)
    return Landscape(value=value, sample=sample, name="function" if name == "<lambda>" else name)


@functools.lru_cache(maxsize=128)
def _with_law(landscape: Landscape, sample: Callable[..., Any]) -> Landscape:
    return replace(landscape, sample=sample)


@functools.lru_cache(maxsize=128)
def _named(name: str) -> Landscape:
    return names.find_landscape(name)
