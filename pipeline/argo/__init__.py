"""The compiled pipeline as an Argo WorkflowTemplate."""
