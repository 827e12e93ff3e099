"""What somebody who knows boto3 would write, with a boto3 that is not ours: nothing but AWS_* variables leads here.

Prints what it found as one JSON object.
"""

import json
import sys
import time

import boto3

stack = sys.argv[1]
found = {"boto3": boto3.__version__}

outputs = {
    output["OutputKey"]: output["OutputValue"]
    for output in boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]["Outputs"]
}

lambda_ = boto3.client("lambda")
lambda_.get_waiter("function_active_v2").wait(FunctionName=outputs["PlaceVoteFunction"])
vote = json.dumps({"vote_id": "boto3", "token": "1", "vote_choice": "red"})
answer = lambda_.invoke(FunctionName=outputs["PlaceVoteFunction"], Payload=vote, LogType="Tail")
request_id = answer["ResponseMetadata"]["RequestId"]
found["invoked"] = [answer["StatusCode"], answer.get("FunctionError")]
try:
    lambda_.invoke(FunctionName="nobody")
except lambda_.exceptions.ResourceNotFoundException as refused:
    found["no function"] = refused.response["ResponseMetadata"]["HTTPStatusCode"]

table = boto3.resource("dynamodb").Table(outputs["VotesTableName"])
deadline = time.monotonic() + 60
while not (items := table.scan()["Items"]) and time.monotonic() < deadline:
    time.sleep(0.2)
found["counted"] = len(items)

sqs = boto3.resource("sqs")
made = sqs.create_queue(QueueName="of-a-stranger")
made.send_messages(Entries=[{"Id": str(number), "MessageBody": f"order {number}"} for number in range(3)])
received = made.receive_messages(MaxNumberOfMessages=10, WaitTimeSeconds=1)
found["received"] = sorted(message.body for message in received)
made.delete()

logs = boto3.client("logs")
found["reports"] = []
deadline = time.monotonic() + 60
while not found["reports"] and time.monotonic() < deadline:
    query = logs.start_query(
        logGroupName=f"/aws/lambda/{outputs['PlaceVoteFunction']}",
        startTime=int(time.time()) - 600,
        endTime=int(time.time()) + 1,
        queryString=f'filter @type = "REPORT" and @requestId = "{request_id}" | stats count(*) as reports',
    )
    while (results := logs.get_query_results(queryId=query["queryId"]))["status"] in ("Scheduled", "Running"):
        time.sleep(0.2)
    found["reports"] = results["results"]

print(json.dumps(found))
