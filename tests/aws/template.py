"""Templates of CloudFormation as CloudFormation would see them: references and functions carried out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from aws_cdk import cx_api
from aws_cdk.assertions import Template

REGION, ACCOUNT = "eu-west-1", "123456789012"
UNIQUE = "0b1c2d3e-aaaa-bbbb-cccc-1234567890ab-4"
BROKERS = "b-1.redrive.x1y2z3.c2.kafka.eu-west-1.amazonaws.com:9098"

Resource = dict[str, Any]


class Platform:
    """The templates of an app.

    Attributes:
        folder: where they are, with the files that go to AWS beside them.
        stacks: by the last part of the stack's name: data, jobs, gateway.
    """

    def __init__(self, assembly: cx_api.CloudAssembly) -> None:
        self.folder = Path(assembly.directory)
        self.artifacts = {stack.stack_name: stack for stack in assembly.stacks}
        self.stacks: dict[str, dict[str, Any]] = {
            stack.stack_name.removeprefix("redrive-"): json.loads(Path(stack.template_full_path).read_text())
            for stack in assembly.stacks
        }
        exports = {
            output["Export"]["Name"]: _Resolving(template, {}).value(output["Value"])
            for template in self.stacks.values()
            for output in template["Outputs"].values()
            if "Export" in output and "ImportValue" not in json.dumps(output["Value"])
        }
        self._resolving = {name: _Resolving(template, exports) for name, template in self.stacks.items()}

    def template(self, stack: str) -> Template:
        """Give a template to match, as it is."""
        return Template.from_json(self.stacks[stack])

    def resources(self, kind: str, stack: str = "") -> dict[str, Resource]:
        """Give the resources of a type by their logical names, all functions carried out."""
        return {
            name: self._resolving[each].value(resource)
            for each, template in self.stacks.items()
            for name, resource in template["Resources"].items()
            if resource["Type"] == kind and stack in {"", each}
        }

    def properties(self, kind: str, stack: str = "") -> list[dict[str, Any]]:
        """Give their properties."""
        return [resource["Properties"] for resource in self.resources(kind, stack).values()]

    def exports(self, stack: str) -> set[str]:
        """Give the names under which a stack has values for others."""
        outputs = self.stacks[stack].get("Outputs", {}).values()
        return {output["Export"]["Name"] for output in outputs if "Export" in output}

    def imports(self, stack: str) -> set[str]:
        """Give the names of the values that a stack takes from others."""
        return set(_imports(self.stacks[stack]))

    def containers(self) -> dict[str, dict[str, Any]]:
        """Give the containers by what they are, such as ``Worker``; of a task that has several, the first one."""
        return {name: containers[0] for name, containers in self._tasks().items()}

    def beside(self, program: str) -> dict[str, dict[str, Any]]:
        """Give the other containers of a program's task by their names."""
        return {each["Name"]: each for each in self._tasks()[program][1:]}

    def _tasks(self) -> dict[str, list[dict[str, Any]]]:
        return {
            name.split("Task")[0]: resource["Properties"]["ContainerDefinitions"]
            for name, resource in self.resources("AWS::ECS::TaskDefinition").items()
        }

    def environment(self, program: str) -> dict[str, str]:
        """Give the variables of a container; a secret's value is where it is."""
        container = self.containers()[program]
        plain = {each["Name"]: each["Value"] for each in container.get("Environment", [])}
        return plain | {each["Name"]: each["ValueFrom"] for each in container.get("Secrets", [])}


def _imports(given: Any) -> Iterator[str]:
    match given:
        case {"Fn::ImportValue": name}:
            yield name
        case dict():
            for each in given.values():
                yield from _imports(each)
        case list():
            for each in given:
                yield from _imports(each)


class _Resolving:
    def __init__(self, template: dict[str, Any], exports: dict[str, Any]) -> None:
        self._resources, self._exports = template["Resources"], exports

    def value(self, given: Any) -> Any:
        """Carry out what functions are in it."""
        if isinstance(given, list):
            return [self.value(each) for each in given]
        if not isinstance(given, dict):
            return given
        match given:
            case {"Ref": name}:
                return self._reference(name)
            case _ if len(given) == 1 and (function := next(iter(given))).startswith("Fn::"):
                return self._call(function, given[function])
        return {key: self.value(each) for key, each in given.items()}

    def _call(self, function: str, given: Any) -> Any:
        calls: dict[str, Callable[[Any], Any]] = {
            "Fn::ImportValue": lambda name: self._exports[name],
            "Fn::GetAtt": lambda of: self._attribute(*of),
            "Fn::Sub": lambda text: text.replace("${AWS::URLSuffix}", "amazonaws.com"),
            "Fn::Join": lambda of: of[0].join(self.value(of[1])),
            "Fn::Select": lambda of: self.value(of[1])[int(of[0])],
            "Fn::Split": lambda of: self.value(of[1]).split(of[0]),
        }
        return calls[function](given)

    def _reference(self, name: str) -> str:
        known = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::URLSuffix": "amazonaws.com",
        }
        if name in known:
            return known[name]
        resource = self._resources.get(name, {"Type": "", "Properties": {}})
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::IAM::ManagedPolicy":
                return f"arn:aws:iam::{ACCOUNT}:policy/{properties['ManagedPolicyName']}"
            case "AWS::ElasticLoadBalancingV2::Listener":
                return f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/{name}/1/2"
            case "AWS::DynamoDB::Table":
                return str(properties["TableName"])
        return name

    def _attribute(self, name: str, attribute: str) -> str:
        resource = self._resources[name]
        match (resource["Type"], attribute):
            case ("AWS::MSK::Cluster", "Arn"):
                named = resource["Properties"]["ClusterName"]
                return f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/{named}/{UNIQUE}"
            case ("Custom::AWS", _):
                return BROKERS
        return f"{name}.{attribute}"
