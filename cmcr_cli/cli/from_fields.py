"""Parameters of commands made of the fields of `RemoveOptions`, which say all about themselves."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, NewType, get_type_hints

from typer import Argument, Option

from cmcr_cli.option_fields import OUTPUTS, Command, OptionField, Role, option_fields
from cmcr_cli.options import RemoveOptions

Chosen = NewType("Chosen", dict[str, Any])
"""Values of the options of a command, by the names of their fields; outputs of a batch are True or False."""


def takes_fields(
    command: Command, kind: type = RemoveOptions
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take all options that have its name among their commands.

    Args:
        command: Name of the command.
        kind: Class whose fields are the options.

    Returns:
        Decorator of a function that has one parameter of the type `Chosen`: it gets the values there, and the
        help shows the options in its place.
    """
    fields = [field for field in option_fields(kind) if command in field.option.commands]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(function, include_extras=True)
        (place,) = (name for name, hint in hints.items() if hint is Chosen)
        parameters: list[inspect.Parameter] = []
        for each in inspect.signature(function).parameters.values():
            if each.name == place:
                parameters += [parameter_of(field, command) for field in fields]
            else:
                parameters.append(each.replace(annotation=hints[each.name], kind=each.KEYWORD_ONLY))

        @wraps(function)
        def call(**values: Any) -> None:
            chosen = {field.name: _value(field, values.pop(field.name)) for field in fields}
            function(**values, **{place: chosen})

        call.__annotations__ = {each.name: each.annotation for each in parameters}
        call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return call

    return decorate


def parameter_of(field: OptionField, command: Command) -> inspect.Parameter:
    """Make a parameter of a command that typer understands.

    Args:
        field: The field.
        command: In a batch an output is a switch, since its path follows from the scene.

    Returns:
        The parameter.
    """
    kind, default = field.type, inspect.Parameter.empty if field.required else field.default
    shown = _shown(field)
    if command == "batch" and field.role in OUTPUTS:
        kind, default = bool, False
        shown = Option(
            field.flag, help=f"Write NAME_clear_{field.name}{field.option.form.ending} for each scene."
        )
    elif field.option.read is not None or field.repeatable:
        kind, default = (list[str] if field.repeatable else str) | None, None
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, shown]
    )


def shown_as(name: str, **changes: Any) -> Any:
    """State what typer needs to know of an option, for a command that has it without being made of fields.

    Args:
        name: Name of the field of `RemoveOptions`.
        changes: Arguments of `typer.Option` in place of those that the field leads to.

    Returns:
        Option or argument of typer.
    """
    (field,) = (field for field in option_fields(RemoveOptions) if field.name == name)
    return _shown(field, **changes)


def _shown(field: OptionField, **changes: Any) -> Any:
    option = field.option
    about: dict[str, Any] = {"help": option.help, "metavar": _metavar(field), **changes}
    if option.positional:
        return Argument(**{**about, "metavar": field.name.upper()})
    flag = f"{field.flag}/--no-{field.flag[2:]}" if field.base is bool and field.default else field.flag
    names = (flag,) if option.letter is None else (flag, option.letter)
    return Option(*names, envvar=option.environment, **about)


def _metavar(field: OptionField) -> str | None:
    if field.option.metavar is not None or field.role not in (Role.INPUT, Role.WEIGHTS, *OUTPUTS):
        return field.option.metavar
    ending = field.option.form.ending if field.role is Role.SIDECAR else ""
    return "|".join([*field.option.words, f"PATH{ending}"])


def _value(field: OptionField, given: Any) -> Any:
    """A value of the option's own type from what typer made of the words."""
    if field.listed:
        return tuple(given or ())
    if field.option.read is None or isinstance(given, bool):
        return given
    if field.repeatable:
        return field.option.read(given or [])
    return field.default if given is None else field.option.read(given)
