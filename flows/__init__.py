"""The orchestration: Prefect flows over the plain functions of the layers below."""
