"""AWS::Events::EventBus for moto's CloudFormation: moto's own gives the object where a template says `Ref`.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-events-eventbus.html
"""

from __future__ import annotations

from typing import Any

from moto.events.models import EventBus


def install() -> None:
    """Mend moto's class. Calling it again changes nothing."""
    event_bus: Any = EventBus
    event_bus.physical_resource_id = property(lambda self: self.name)
