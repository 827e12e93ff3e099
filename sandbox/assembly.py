"""The whole sandbox: every part made and joined, without a socket.

Runs on any `Scheduler`: the server's event loop, or virtual time in tests.
"""

from __future__ import annotations

import random
from typing import Any

from moto.logs.models import logs_backends

from sandbox.alarm_states import alarm_state
from sandbox.clients import InProcessClients
from sandbox.clock import Scheduler
from sandbox.definitions import ACCOUNT_ID, FunctionDefinition
from sandbox.faults import Faults
from sandbox.functions import LambdaService
from sandbox.gateway import Gateway
from sandbox.invoke_api import InvokeApi
from sandbox.logs import LogStore
from sandbox.logs_api import InsightsModel, LogsApi
from sandbox.metrics import Metrics
from sandbox.model.parameters import Parameters
from sandbox.moto_bridge import alarms
from sandbox.moto_bridge.bridge import MotoBridge
from sandbox.permissions import Permissions
from sandbox.services.dynamodb import DynamoDbService
from sandbox.services.eventbridge import EventBridgeService
from sandbox.services.kinesis import KinesisService, ShardLimits
from sandbox.services.kms import KmsService
from sandbox.services.queue_consumer import QueueConsumer
from sandbox.services.sns import SnsService
from sandbox.services.sqs import SqsService
from sandbox.services.stream_consumer import StreamConsumer
from sandbox.truth import Truth


class Sandbox:
    """One local AWS. moto keeps its state in the process, so there can be one at a time."""

    def __init__(self, scheduler: Scheduler, parameters: Parameters, seed: int = 1) -> None:
        self.scheduler = scheduler
        self.parameters = parameters
        self.seed = seed
        self.truth = Truth(parameters.chains)
        self.faults = Faults(seed)
        self.permissions = Permissions(self.faults)
        self._ingestion_lag_s = parameters.logs.ingestion_lag_s
        self.bridge = MotoBridge(
            parameters.lambda_.account_concurrency,
            gateway_throttle=(parameters.api_gateway.account_rate_per_s, parameters.api_gateway.account_burst),
            now=scheduler.now,
            function_update_s=parameters.lambda_.function_update_ms / 1000,
            unreserved_concurrency_min=parameters.lambda_.unreserved_concurrency_min,
        )
        self.metrics = Metrics()
        self.logs = LogStore(self._log_lag)
        self.metrics.derive("AWS/Logs", "IncomingBytes", "LogGroupName", self.logs.ingested_bytes)
        self.kinesis = KinesisService(
            scheduler,
            self.bridge,
            self.truth,
            ShardLimits(
                records_per_s=parameters.kinesis.shard_records_per_s,
                bytes_per_s=parameters.kinesis.shard_bytes_per_s,
                record_max_bytes=parameters.kinesis.record_max_bytes,
            ),
            self.metrics,
        )
        self.functions = LambdaService(
            self.bridge,
            scheduler,
            parameters,
            make_client=self._make_client,
            make_resource=self._make_resource,
            logs=self.logs,
            metrics=self.metrics,
            truth=self.truth,
            faults=self.faults,
            seed=seed,
            ensure_log_group=self._ensure_log_group,
        )
        self.bridge.when_changed(self.functions.provision)
        self.bridge.provisioned.allocation = self.functions.allocation
        self.sns = SnsService(
            scheduler,
            self.bridge,
            self.functions,
            self.faults,
            self.truth,
            delivery_s=parameters.sns.delivery_ms / 1000,
            messages_per_s=parameters.sns.messages_per_s,
            rng=random.Random(f"{seed}/sns"),
            metrics=self.metrics,
        )
        self.sqs = SqsService(
            scheduler,
            self.bridge,
            self.faults,
            self.truth,
            duplicate_after_s=parameters.sqs.duplicate_after_s,
            rng=random.Random(f"{seed}/sqs"),
        )
        self.eventbridge = EventBridgeService(
            scheduler,
            self.bridge,
            self.functions,
            self.faults,
            self.truth,
            delivery_s=parameters.eventbridge.delivery_ms / 1000,
            puts_per_s=parameters.eventbridge.puts_per_s,
            rng=random.Random(f"{seed}/eventbridge"),
        )
        self.kms = KmsService()
        self.clients = InProcessClients(
            kinesis=self.kinesis,
            sns=self.sns,
            sqs=self.sqs,
            eventbridge=self.eventbridge,
            kms=self.kms,
            dynamodb=DynamoDbService(self.metrics, scheduler.now),
            faults=self.faults,
        )
        self.stream_consumer = StreamConsumer(
            scheduler,
            self.bridge,
            self.kinesis,
            self.functions,
            self.truth,
            poll_interval_s=parameters.kinesis.poll_interval_s,
            retry_pause_s=parameters.kinesis.retry_pause_s,
            on_iterator_age=self._iterator_age,
            on_discarded=self._tell_queue,
            faults=self.faults,
        )
        self.bridge.when_changed(self.stream_consumer.refresh)
        self.queue_consumer = QueueConsumer(scheduler, self.bridge, self.sqs, self.functions, parameters.sqs)
        self.bridge.when_changed(self.queue_consumer.refresh)
        self.gateway = Gateway(
            self.bridge,
            scheduler,
            parameters,
            self.functions,
            logs=self.logs,
            metrics=self.metrics,
            truth=self.truth,
            faults=self.faults,
            permissions=self.permissions,
            seed=seed,
        )
        self.invoke_api = InvokeApi(self.functions, self.bridge, parameters.lambda_, self.truth)
        self.logs_api = LogsApi(
            self.logs,
            self._log_group_exists,
            model=InsightsModel(
                latency_s=parameters.logs.insights_latency_s,
                concurrent_queries=parameters.logs.insights_concurrent_queries,
                starts_per_s=parameters.logs.insights_start_query_per_s,
                reads_per_s=parameters.logs.insights_get_results_per_s,
            ),
        )

    def reset(self, *, resources: bool = False) -> None:
        """Forget what has happened: logs, metrics, truth, faults, environments. What is under way goes on to its end.

        The resources (the deployed stack, its tables' items) stay unless `resources` is set.
        """
        self.faults.clear()
        self.permissions.reset()
        self.truth.reset()
        self.logs_api.reset()
        self.logs.clear()
        self.metrics.clear()
        if resources:
            self.bridge.reset()
        self.functions.reset()
        self.gateway.reset()

    def close(self) -> None:
        """Remove the temporary files."""
        self.logs_api.close()
        self.logs.close()

    def judge_alarms(self, region: str) -> None:
        """Put the alarms of a Region into the states that their metrics have now."""
        alarms.judge(region, lambda alarm: alarm_state(alarm, self.metrics, self.scheduler.now()))

    def _make_client(self, service: str, function: FunctionDefinition) -> Any:
        return self.clients.make_client(service, function)

    def _make_resource(self, service: str, function: FunctionDefinition) -> Any:
        return self.clients.make_resource(service, function)

    @property
    def log_lag_s(self) -> float:
        """How long log events may take to become visible at present."""
        return self.parameters.logs.ingestion_lag_s + self.faults.greatest_log_lag_s

    def _log_lag(self, group: str, stream: str, timestamp: float) -> float:
        return self._ingestion_lag_s + self.faults.log_event()

    def _iterator_age(self, function: FunctionDefinition, at: float, age_ms: float) -> None:
        self.metrics.add("AWS/Lambda", "IteratorAge", (("FunctionName", function.name),), at, age_ms)

    def _tell_queue(self, arn: str, document: str) -> None:
        """A destination of failed batches; one that is no queue, or none that exists, is told nothing."""
        _, _, service, region, account, name = arn.split(":", 5)
        if service == "sqs" and self.bridge.queue(name, region) is not None:
            url = f"https://sqs.{region}.amazonaws.com/{account}/{name}"
            self.sqs.send_message(region, {"QueueUrl": url, "MessageBody": document})

    def _log_group_exists(self, name: str) -> bool:
        """In any region: log events are kept by the name of their group alone."""
        return any(name in backend.groups for backend in logs_backends[ACCOUNT_ID].values())

    def _ensure_log_group(self, function: FunctionDefinition) -> None:
        if not self._log_group_exists(function.log_group):
            logs_backends[ACCOUNT_ID][function.region].create_log_group(function.log_group, {})
