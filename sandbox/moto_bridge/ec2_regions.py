"""The regions of EC2, as moto reads them while it is imported: without the model of that service.

moto 5.2.5 asks boto3 three times, and each time boto3 reads four megabytes of JSON to find out that EC2's endpoints are
called `ec2`: a third of what the sandbox takes to start. The list of endpoints says the same.
"""

from __future__ import annotations

import boto3
import botocore.session


def read_regions() -> None:
    """Import what asks for them. To be called before anything else of moto is imported."""
    endpoints = botocore.session.Session().get_component("endpoint_resolver")

    def regions(session: boto3.Session, service_name: str, partition_name: str = "aws") -> list[str]:
        return list(endpoints.get_available_endpoints(service_name, partition_name))

    own = boto3.Session.get_available_regions
    boto3.Session.get_available_regions = regions
    try:
        import moto.ec2.models.availability_zones_and_regions  # noqa: F401
    finally:
        boto3.Session.get_available_regions = own
