"""Recording and alerting rules in Prometheus's own file format, which vmalert and Mimir read too."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from flotilla.dashboards.model import Some
from flotilla.dashboards.units import Seconds
from flotilla.errors import InvalidInput, Problem, phrase
from flotilla.validation import Strict, checked, read_documents

MetricName = Annotated[str, Field(pattern=r"^[a-zA-Z_:][\w:]*$")]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_]\w*$")]


class _Part(Strict):
    """A part of a file whose format is Prometheus's: its field names are snake_case."""

    model_config = ConfigDict(alias_generator=None)


class Rule(_Part):
    """What is recorded as ``record``, or alerted of as ``alert`` once it has held ``for`` seconds."""

    record: MetricName | None = None
    alert: str | None = None
    expr: str = Field(min_length=1)
    held: Seconds = Field(default=0, alias="for")
    keep_firing_for: Seconds = 0
    labels: dict[LabelName, str] = Field(default_factory=dict)
    annotations: dict[LabelName, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_kind(self) -> Rule:
        if (self.record is None) == (self.alert is None):
            raise ValueError("record or alert, exactly one of them")
        if self.record and (self.held or self.keep_firing_for or self.annotations):
            raise ValueError("for, keep_firing_for and annotations are for alerts")
        return self

    @property
    def name(self) -> str:
        """What is recorded or alerted of."""
        return self.record or self.alert or ""


class Group(_Part):
    """Rules that are evaluated one after the other, each ``interval`` seconds (0: as the evaluator has it)."""

    name: str = Field(min_length=1)
    interval: Seconds = 0
    limit: int = Field(default=0, ge=0)
    labels: dict[LabelName, str] = Field(default_factory=dict)
    rules: Some[Rule]


class Rules(_Part):
    """A rule file."""

    groups: Some[Group]

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All its rules, in their order."""
        return tuple(rule for group in self.groups for rule in group.rules)


def parse_rules(text: str, file: str) -> Rules:
    """Return the rules of a file; raises InvalidInput with everything that is wrong with it."""
    documents = read_documents(text, file)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        found = phrase(f"holds {len(documents)} documents" if len(documents) != 1 else "is not a mapping")
        raise InvalidInput([Problem(file, "", found, "one YAML document with groups")])
    rules = checked(Rules, documents[0], file)
    names = [group.name for group in rules.groups]
    twice = [(index, name) for index, name in enumerate(names) if name in names[:index]]
    if twice:
        raise InvalidInput(Problem(file, f"groups[{index}].name", name, "a name of its own") for index, name in twice)
    return rules
