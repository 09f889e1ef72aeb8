"""The AWS SDK (botocore) with an object store's calls, which knows of the proxy what its environment says, no more.

aws_client.py BASE...      with TOKEN set
"""

import json
import os
import sys

from botocore import UNSIGNED
from botocore.config import Config
from botocore.session import Session

PLAIN = Config(signature_version=UNSIGNED, s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})


def bear_token(request, **_):
    request.headers["Authorization"] = "Bearer " + os.environ["TOKEN"]


for base in sys.argv[1:]:
    store = Session().create_client("s3", "us-east-1", endpoint_url=base, config=PLAIN)
    store.meta.events.register("before-sign.s3", bear_token)
    for _ in range(2):
        answer = store.get_object(Bucket="a2a", Key="whoami")
        status, body = answer["ResponseMetadata"]["HTTPStatusCode"], json.load(answer["Body"])
        print(json.dumps({"base": base, "step": "whoami", "status": status, "body": body}), flush=True)
