"""Where Prefect keeps who has which slot of a limit: files, which a new server has to find again."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_efs as efs
from constructs import Construct

from deployments.aws.data_stack import DataStack
from deployments.aws.network import FOR_TASKS
from deployments.aws.program import Program

_AT = "/leases"


class Leases(Construct):
    """A file system of a few kilobytes; without it a slot of `cluster-health` may be taken for ever (docs/workers.md).

    Attributes:
        environment: what the server has to be told.
    """

    def __init__(self, scope: Construct, id: str, data: DataStack) -> None:
        super().__init__(scope, id)
        group = ec2.SecurityGroup(
            self, "Group", vpc=data.vpc, description="Redrive: files of Prefect", allow_all_outbound=False
        )
        group.add_ingress_rule(data.doors.prefect, ec2.Port.tcp(2049), "from Prefect")
        self._files = efs.FileSystem(
            self,
            "Files",
            vpc=data.vpc,
            vpc_subnets=FOR_TASKS,
            security_group=group,
            encrypted=True,
            kms_key=data.key,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self._point = self._files.add_access_point(
            "Point",
            path="/prefect",
            create_acl=efs.Acl(owner_uid="1000", owner_gid="1000", permissions="750"),
            posix_user=efs.PosixUser(uid="1000", gid="1000"),
        )
        self.environment = {
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
            "PREFECT_HOME": _AT,
        }

    def mount(self, program: Program) -> None:
        """Give the files to a program."""
        program.task.add_volume(
            name="leases",
            efs_volume_configuration=ecs.EfsVolumeConfiguration(
                file_system_id=self._files.file_system_id,
                transit_encryption="ENABLED",
                authorization_config=ecs.AuthorizationConfig(
                    access_point_id=self._point.access_point_id, iam="ENABLED"
                ),
            ),
        )
        program.container.add_mount_points(ecs.MountPoint(source_volume="leases", container_path=_AT, read_only=False))
        self._files.grant_read_write(program.task.task_role)
        program.node.add_dependency(self._files.mount_targets_available)
