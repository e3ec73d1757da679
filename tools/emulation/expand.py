"""Expand a template as CloudFormation does, and decide its conditions. Run by the SAM CLI's interpreter.

    python expand.py template.yaml '[{"Architecture": "arm64"}]'

Prints two templates for each set of parameters: "expanded", with its conditions, and "decided", what they leave.

Two transforms make the expanded template, in CloudFormation's order. AWS::LanguageExtensions knows the parameters'
values and is done here, as far as the template uses it: AWS's own resolves more, and the SAM CLI's drops the Fn::Sub
around what it cannot resolve. AWS::Serverless is AWS's own translator.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

_NOTHING = {"Ref": "AWS::NoValue"}


def main(path: str, given: str) -> None:
    """Print both templates for each set of parameters."""
    logging.disable()
    text = Path(path).read_text()
    print(json.dumps([expansion(yaml_parse(text), parameters) for parameters in json.loads(given)]))


def expansion(template: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Both templates, for some parameters."""
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
            resource["Properties"][name] = "s3://bucket/artifact"
    defaults = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
    parameters = {**defaults, **given}
    extend(template, Decision(template, parameters))
    expanded = Translator({}, Parser()).translate(template, parameters)
    return {"expanded": expanded, "decided": Decision(expanded, parameters).template()}


def extend(template: dict[str, Any], decision: Decision) -> None:
    """Apply AWS::LanguageExtensions to the resources, where alone it works: not to SAM's Globals."""
    template["Transform"] = "AWS::Serverless-2016-10-31"
    for resource in template["Resources"].values():
        for policy in {"DeletionPolicy", "UpdateReplacePolicy"} & resource.keys():
            resource[policy] = decision.value(resource[policy])
        resource["Properties"] = as_json(resource["Properties"], decision)


def as_json(value: Any, decision: Decision) -> Any:
    """A value with its Fn::ToJsonString computed."""
    match value:
        case {"Fn::ToJsonString": content}:
            return json.dumps(decision.value(content), separators=(",", ":"))
        case dict():
            return {name: as_json(inner, decision) for name, inner in value.items()}
        case list():
            return [as_json(inner, decision) for inner in value]
    return value


class Decision:
    """What CloudFormation makes of a template's conditions and of the parameters in it."""

    def __init__(self, template: dict[str, Any], parameters: dict[str, Any]) -> None:
        self._template = template
        self._parameters = parameters

    def template(self) -> dict[str, Any]:
        """The template without what its conditions leave out."""
        kept = {
            name: self.value(resource)
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.holds({"Condition": resource["Condition"]})
        }
        return {"Resources": kept, "Outputs": self.value(self._template["Outputs"])}

    def value(self, value: Any) -> Any:
        """A property's value."""
        match value:
            case {"Ref": name} if name in self._parameters:
                return self._parameters[name]
            case {"Fn::Sub": str(text)}:
                return self._substituted(text)
            case {"Fn::Join": ["", {"Ref": _} as reference]}:
                return self.value(reference)  # a list that is a parameter is here the text that it is given as
            case {"Fn::If": [condition, when_true, when_false]}:
                return self.value(when_true if self.holds({"Condition": condition}) else when_false)
            case dict():
                return {name: self.value(inner) for name, inner in value.items() if self.value(inner) != _NOTHING}
            case list():
                return [found for inner in value if (found := self.value(inner)) != _NOTHING]
        return value

    def _substituted(self, text: str) -> str | dict[str, str]:
        for name, parameter in self._parameters.items():
            text = text.replace(f"${{{name}}}", str(parameter))
        return {"Fn::Sub": text} if "${" in text else text

    def holds(self, condition: dict[str, Any]) -> bool:
        """Whether a condition is true."""
        match condition:
            case {"Condition": name}:
                return self.holds(self._template["Conditions"][name])
            case {"Fn::Not": [inner]}:
                return not self.holds(inner)
            case {"Fn::Equals": [left, right]}:
                return bool(self.value(left) == self.value(right))
            case {"Fn::And": parts}:
                return all(self.holds(part) for part in parts)
            case {"Fn::Or": parts}:
                return any(self.holds(part) for part in parts)
        raise ValueError(f"unknown condition: {condition}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
