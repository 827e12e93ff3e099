"""What moto reads of EC2 while it is imported: only what the other services need.

moto 5.2.5 asks boto3 three times for the regions, and each time boto3 reads four megabytes of JSON to find out that
EC2's endpoints are called `ec2`: a third of what the sandbox takes to start. The list of endpoints says the same. And
it unpacks ninety files of where which type of instance is offered, another sixth, and 47 MB that stay. They are left
out: DescribeInstanceTypeOfferings finds none.
"""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from moto.utilities import utils


def read_little() -> None:
    """Import what reads all that. To be called before any service of moto is imported."""
    endpoints = botocore.session.Session().get_component("endpoint_resolver")

    def regions(session: boto3.Session, service_name: str, partition_name: str = "aws") -> list[str]:
        return list(endpoints.get_available_endpoints(service_name, partition_name))

    def load_needed(resource: str) -> Any:
        return [] if "instance_type_offerings" in resource else load_resource(resource)

    own, boto3.Session.get_available_regions = boto3.Session.get_available_regions, regions
    load_resource, utils.load_resource = utils.load_resource, load_needed
    try:
        import moto.ec2.models.availability_zones_and_regions  # noqa: F401
    finally:
        boto3.Session.get_available_regions = own
        utils.load_resource = load_resource
