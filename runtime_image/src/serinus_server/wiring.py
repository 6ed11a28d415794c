"""Which tensor of a pipeline goes where: decided by name, and checked before anything runs.

A stage takes an input from the stage before it that gives an output of that name, or else from the request.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from serinus_server.failure import FatalError, Reason
from serinus_server.model import Signature, TensorSpec
from serinus_server.wording import expected

Shape = tuple[int | str | None, ...] | None


@dataclass(frozen=True)
class Wiring:
    """What the pipeline takes and gives, and which outputs of each stage are needed, in the order of the stages."""

    signature: Signature
    needed: Sequence[Sequence[str]]


def wire(stages: Mapping[str, Signature]) -> Wiring:
    """Connect stages, given by name in the order in which they run.

    Raises FatalError(MODEL_LOAD_FAILED) that names the stage and the tensor where two do not fit.
    """
    wires = _Wires()
    for name, signature in stages.items():
        wires.connect(name, signature)
    names = list(stages)
    last = names[-1]
    for number, name in enumerate(names[:-1]):
        if not wires.needed[name]:
            later = " and ".join(f"{each!r} takes {_names(stages[each].inputs)}" for each in names[number + 1 :])
            raise _no_fit(f"stage {name!r} gives {_names(stages[name].outputs)}, which no later stage takes; {later}")
    inputs = {name: replace(taken.spec, shape=_shown(taken, wires.taken)) for name, taken in wires.taken.items()}
    signature = Signature(inputs, stages[last].outputs, stages[last].unsupported_outputs)
    needed = [[output for output in stages[name].outputs if output in wires.needed[name]] for name in names[:-1]]
    return Wiring(signature, [*needed, list(stages[last].outputs)])


@dataclass(frozen=True)
class _Taken:
    """An input of the request, and the stages that take it; symbolic dimensions are those of the first."""

    spec: TensorSpec
    stage: str


class _Wires:
    """What is known of the stages connected so far."""

    def __init__(self) -> None:
        self.taken: dict[str, _Taken] = {}
        self.needed: dict[str, set[str]] = {}
        self._given: dict[str, dict[str, TensorSpec]] = {}  # output -> stage -> what it is
        self._unsupported: dict[str, tuple[str, str]] = {}  # output -> stage and type

    def connect(self, stage: str, signature: Signature) -> None:
        """Add a stage behind those that are there."""
        for spec in signature.inputs.values():
            givers = self._given.get(spec.name, {})
            if givers:
                self._feed(stage, spec, givers)
            elif spec.name in self._unsupported:
                giver, type_ = self._unsupported[spec.name]
                raise _no_fit(f"{_takes(stage, spec)}, but stage {giver!r} gives a {type_}")
            else:
                self._take(stage, spec)
        self.needed[stage] = set()
        for spec in signature.outputs.values():
            self._given.setdefault(spec.name, {})[stage] = spec
        for name, type_ in signature.unsupported_outputs.items():
            self._unsupported[name] = (stage, type_)

    def _feed(self, stage: str, spec: TensorSpec, givers: Mapping[str, TensorSpec]) -> None:
        """Take an input from the one earlier stage that gives it."""
        rivals = [f"stage {giver!r}" for giver in givers]
        if spec.name in self.taken:
            rivals.insert(0, "the request")
        if len(rivals) > 1:
            raise _no_fit(f"stage {stage!r} takes {spec.name!r}, which {' and '.join(rivals)} give: rename all but one")
        ((giver, given),) = givers.items()
        if not _fit(spec, given):
            raise _no_fit(f"{_takes(stage, spec)}, but stage {giver!r} gives a {expected(given)}")
        self.needed[giver].add(spec.name)

    def _take(self, stage: str, spec: TensorSpec) -> None:
        """Take an input from the request, perhaps together with earlier stages."""
        earlier = self.taken.get(spec.name)
        if earlier is None:
            self.taken[spec.name] = _Taken(spec, stage)
            return
        if not _fit(spec, earlier.spec):
            other = expected(earlier.spec)
            raise _no_fit(f"{_takes(stage, spec)}, but stage {earlier.stage!r} takes it as a {other} of the request")
        optional = spec.optional and earlier.spec.optional
        shape = _narrowed(earlier.spec.shape, spec.shape)
        self.taken[spec.name] = replace(earlier, spec=replace(earlier.spec, shape=shape, optional=optional))


def _fit(one: TensorSpec, other: TensorSpec) -> bool:
    """Whether one tensor can be both, as far as the models say."""
    if one.datatype != other.datatype:
        return False
    if one.shape is None or other.shape is None:
        return True
    return len(one.shape) == len(other.shape) and all(
        not (isinstance(ours, int) and isinstance(theirs, int)) or ours == theirs
        for ours, theirs in zip(one.shape, other.shape, strict=True)
    )


def _narrowed(one: Shape, other: Shape) -> Shape:
    """The shape of a tensor that fits both; the first one's symbolic dimensions stay."""
    if one is None or other is None:
        return one if other is None else tuple(size if isinstance(size, int) else None for size in other)
    return tuple(theirs if isinstance(theirs, int) else ours for ours, theirs in zip(one, other, strict=True))


def _shown(taken: _Taken, everything: Mapping[str, _Taken]) -> Shape:
    """A shape in which a symbolic dimension that another stage has, too, is told from that one's.

    Equal names mean equal sizes, but only within the file that they come from.
    """
    if taken.spec.shape is None:
        return None
    elsewhere = {size for other in everything.values() if other.stage != taken.stage for size in other.spec.shape or ()}
    return tuple(
        f"{taken.stage}.{size}" if isinstance(size, str) and size in elsewhere else size for size in taken.spec.shape
    )


def _takes(stage: str, spec: TensorSpec) -> str:
    return f"stage {stage!r} takes {spec.name!r} as a {expected(spec)}"


def _names(names: Mapping[str, TensorSpec]) -> str:
    return ", ".join(map(repr, names)) or "nothing"


def _no_fit(message: str) -> FatalError:
    return FatalError(Reason.MODEL_LOAD_FAILED, f"the pipeline does not fit together: {message}")
