"""The steps of jobs, as Prefect tasks, and what people see of them."""
