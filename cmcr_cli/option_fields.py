"""Options as the fields of a dataclass.

A field states its type, its default and, as an `Option` in its annotation, everything else about it:

    steps: Annotated[int, Option("Network evaluations per patch.", least=1, most=64)] = 1

The command line, batches, Dask, resumed runs, recorded commands and the documentation read it here. None of
them has a list of names: what treats some options alike asks for their role.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import KW_ONLY, MISSING, dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from cmcr_cli.addresses import public
from cmcr_cli.errors import OptionError
from cmcr_cli.option_paths import COG, Format

T = TypeVar("T")

MOST_SHOWN, LONGEST_LINE = 3, 160
"""Values of one option, and characters of all, that a repr shows."""

Command = Literal["remove", "batch", "mask", "info", "train", "distill"]
"""Commands whose options are fields."""

SINGLE: tuple[Command, ...] = ("remove",)
RADAR: tuple[Command, ...] = (*SINGLE, "info")
"""Commands with options that a batch takes from its list of scenes or names itself."""

ALL: tuple[Command, ...] = ("remove", "batch", "mask")

OPENING: tuple[Command, ...] = (*ALL, "info")
"""Commands that open a scene."""


class Role(Enum):
    """Purpose of an option."""

    INPUT = "a raster, product or area to read"
    WEIGHTS = "weights of a network"
    RASTER = "an output, written row by row"
    SIDECAR = "an output, written after the rasters"
    FOLDER = "a folder of outputs, which are known when the inputs are open"
    RESULT = "changes what is written"
    RUN = "how and where to compute; never changes what is written"


FILES = (Role.RASTER, Role.SIDECAR)
OUTPUTS = (*FILES, Role.FOLDER)


@dataclass(frozen=True, slots=True)
class Option:
    """All about an option except its name, type and default.

    Attributes:
        help: One or two sentences for the command line and the documentation.
        role: What the option is for.
        commands: Commands that have it. In a batch an output is a switch; its path follows from the scene.
        column: Whether a list of scenes may have it as a column.
        positional: Whether the command line knows it by its place and not by a flag.
        flag: Name on the command line, by default that of the field with dashes.
        letter: Short flag.
        metavar: What the help shows for the value.
        environment: Environment variable that sets it on the command line.
        least: Smallest value.
        most: Largest value.
        multiple: What the value must be a multiple of.
        words: Values of an input that are words and not paths.
        path_of: The path with which a value of an input begins, where it may state more than that.
        form: Format of an output.
        read: Makes the value of the text, or of the list of texts, that the command line takes; raises
            OptionError. Only for types that the command line does not know. Without it, a tuple is a list of
            texts that the command line takes one by one.
    """

    help: str
    role: Role = Role.RESULT
    _: KW_ONLY
    commands: tuple[Command, ...] = ("remove", "batch")
    column: bool = False
    positional: bool = False
    flag: str | None = None
    letter: str | None = None
    metavar: str | None = None
    environment: str | None = None
    least: float | None = None
    most: float | None = None
    multiple: int | None = None
    words: tuple[str, ...] = ()
    path_of: Callable[[str], str] = str
    form: Format = COG
    read: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class OptionField:
    """A field of a class of options.

    Attributes:
        name: Name in Python.
        type: Type as annotated.
        default: Default, MISSING where a value is required.
        option: What else is known of it.
    """

    name: str
    type: Any
    default: Any
    option: Option

    @property
    def role(self) -> Role:
        """Purpose of the option."""
        return self.option.role

    @property
    def flag(self) -> str:
        """Name on the command line and in messages."""
        return self.option.flag or f"--{self.name.replace('_', '-')}"

    @property
    def required(self) -> bool:
        """Tell whether there is no default."""
        return self.default is MISSING

    @property
    def base(self) -> Any:
        """The type of a value that is not None."""
        kinds = [kind for kind in get_args(self.type) if kind is not NoneType]
        return kinds[0] if NoneType in get_args(self.type) else self.type

    @property
    def choices(self) -> tuple[Any, ...]:
        """Values of a Literal, else ()."""
        return get_args(self.base) if get_origin(self.base) is Literal else ()

    @property
    def listed(self) -> bool:
        """Tell whether a value is a tuple of texts that are given one by one."""
        return get_origin(self.base) is tuple and self.option.read is None

    @property
    def repeatable(self) -> bool:
        """Tell whether the command line takes the option several times."""
        return self.listed or get_origin(self.base) is Mapping

    @property
    def meaning(self) -> str:
        """The help, with the limits of the value."""
        return self.option.help if self.option.least is None else f"{self.option.help} From {self._limits}."

    @property
    def _limits(self) -> str:
        option = self.option
        text = f"{option.least} to {option.most}"
        return text if option.multiple is None else f"{text}, a multiple of {option.multiple}"

    def check(self, value: Any) -> None:
        """Check a value that was given.

        Args:
            value: The value; None is accepted.

        Raises:
            OptionError: It is not one of the choices, or outside the limits.
        """
        if value is None:
            return
        if self.choices and value not in self.choices:
            raise OptionError(f"{self.flag} {value}: expected {' or '.join(map(str, self.choices))}")
        least, most = self.option.least, self.option.most
        if least is None or most is None:
            return
        multiple = self.option.multiple
        if not least <= value <= most or (multiple is not None and value % multiple):
            raise OptionError(f"{self.flag} {value}: expected {self._limits}")


_KNOWN: dict[type, tuple[OptionField, ...]] = {}
"""Results of `option_fields`, by class."""


def option_fields(kind: type) -> tuple[OptionField, ...]:
    """The options that a dataclass holds, in their order.

    Args:
        kind: A dataclass, each of whose fields is annotated with an `Option`.

    Returns:
        One for each field.

    Raises:
        TypeError: A field has no `Option`.
    """
    if kind in _KNOWN:
        return _KNOWN[kind]
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        base, *extras = get_args(hints[field.name]) or (None,)
        options = [extra for extra in extras if isinstance(extra, Option)]
        if len(options) != 1:
            raise TypeError(f"{kind.__name__}.{field.name} needs one Option in its annotation")
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found.append(OptionField(field.name, base, default, options[0]))
    return _KNOWN.setdefault(kind, tuple(found))


def documented(kind: type[T]) -> type[T]:
    """Class decorator: say in the docstring what each option means, and keep signature and repr short.

    Args:
        kind: A dataclass, each of whose fields is annotated with an `Option`.

    Returns:
        The class.
    """
    lines = ["", "    Args:"]
    for field in option_fields(kind):
        kind.__init__.__annotations__[field.name] = field.type
        lines.append(f"        {field.name}: {field.meaning}")
    kind.__doc__ = "\n".join([(kind.__doc__ or "").rstrip(), *lines])
    kind.__repr__ = _shown  # type: ignore[method-assign]
    return kind


def _shown(options: Any) -> str:
    """The options that are not the defaults, in one line."""
    stated = {field.name: (getattr(options, field.name), field) for field in option_fields(type(options))}
    parts = []
    for name, (value, field) in stated.items():
        if value != field.default:
            text = str(value) if isinstance(value, Path) else value
            several = isinstance(value, tuple | Mapping) and len(value) > MOST_SHOWN
            parts.append(f"{name}=({len(value)} values)" if several else f"{name}={text!r}")
    line = public(", ".join(parts))
    line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."
    return f"{type(options).__name__}({line})"


def values_by_role(options: Any, *roles: Role) -> Iterator[tuple[OptionField, Any]]:
    """Fields of these roles, with their values in `options`; those that are None are left out.

    Args:
        options: Instance of a class of options.
        roles: What the options are for.

    Yields:
        Field and value.
    """
    for field in option_fields(type(options)):
        if field.role in roles and (value := getattr(options, field.name)) is not None:
            yield field, value


def paths_by_role(options: Any, *roles: Role) -> Iterator[str]:
    """List all paths and addresses that options of these roles name, without the words that are not paths.

    Args:
        options: Instance of a class of options.
        roles: What the options are for.

    Yields:
        Each path or address, without codes or band names that the option takes with it.
    """
    for field, value in values_by_role(options, *roles):
        for each in value if field.listed else (value,):
            if each not in field.option.words:
                yield field.option.path_of(str(each))


def decisive(options: Any) -> dict[str, Any]:
    """Options on which the outputs depend, by name: all but how and where to compute.

    They are what a resumed run must have in common with the run that it continues. Inputs and weights are
    among them by their paths; what the files hold is for the caller to add.

    Args:
        options: Instance of a class of options.

    Returns:
        Values by name.
    """
    machine = {field.name for field in option_fields(type(options)) if field.role is Role.RUN}
    return {name: value for name, value in dataclasses.asdict(options).items() if name not in machine}


def absolute_paths(options: Any) -> dict[str, Any]:
    """Absolute paths of all files that `options` name, by the name of the field.

    Words and addresses that only GDAL knows, which have the type of a text and are not files here, are left
    out.

    Args:
        options: Instance of a class of options.

    Returns:
        Paths by name.
    """
    found: dict[str, Any] = {}
    for field, value in values_by_role(options, Role.INPUT, Role.WEIGHTS, *OUTPUTS):
        if field.listed:
            found |= {field.name: tuple(_absolute(field, each) for each in value)} if value else {}
        elif field.base is Path or (value not in field.option.words and Path(value).exists()):
            found[field.name] = field.base(Path(value).absolute())
    return found


def _absolute(field: OptionField, value: str) -> str:
    """One of several values with an absolute path, if it begins with that of a file here."""
    path = field.option.path_of(value)
    return f"{Path(path).absolute()}{value[len(path) :]}" if Path(path).exists() else value


def value_of_text(field: OptionField, text: str) -> Any:
    """Make the value of an option from one text, as lists of scenes hold it.

    Args:
        field: The option, which is not a list.
        text: The text.

    Returns:
        A value of the option's own type.

    Raises:
        OptionError: The text is not one.
    """
    if field.option.read is not None:
        return field.option.read(text)
    try:
        return field.base(text) if field.base in (int, float, Path) else text
    except ValueError:
        raise OptionError(f"{field.flag} {text!r}: expected a number") from None


def text_of(value: Any) -> str:
    """A value as the command line takes it: lists with commas, numbers with all their digits.

    Args:
        value: Value of an option that is not repeatable.

    Returns:
        The text.
    """
    if isinstance(value, tuple):
        return ",".join(map(text_of, value))
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)
