"""The steps of jobs, as Prefect tasks, and what people see of them: a folder a job, and beside them what jobs share."""
