"""AWS: the stream on Kinesis and the store on DynamoDB.

In: calls of the protocols in `liveinsight.storage`. Out: requests to AWS, and their answers or our own errors. This is
the only room that knows boto3.
"""
