"""The platform on AWS, as an app of the AWS CDK: by the same settings as all else, with their section ``[aws]``.

``python -m deployments.aws`` writes the templates to ``cdk.out``. Needs the packages of ``requirements.lock``
beside this file (`make aws`). It was synthesised and linted, and never deployed. See ``docs/aws.md``.
"""
