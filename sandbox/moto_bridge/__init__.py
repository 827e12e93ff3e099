"""AWS's control plane, answered by moto inside this process: no network, no container.

`MotoBridge` is what the rest of the sandbox uses. The other modules teach moto 5.2.5 what it lacks, one gap each:

- `cloudformation_apigateway`, `cloudformation_sns`, `cloudformation_cloudwatch`, `cloudformation_events`,
  `cloudformation_kms`, `cloudformation_lambda`: resource types that moto's CloudFormation does not know or understands
  too little of;
- `cloudformation_stacks`: rollback, conditions, parameters' defaults, updates of what cannot be updated;
- `ec2_import`: time that it takes to be imported;
- `instance_tracking`: a leak;
- `lambda_configuration`: TracingConfig and LoggingConfig of a function;
- `provisioned_concurrency`: the four provisioned-concurrency calls of Lambda.
"""

from sandbox.moto_bridge.ec2_import import read_little

read_little()

from sandbox.moto_bridge.bridge import MotoBridge  # noqa: E402

__all__ = ["MotoBridge"]
