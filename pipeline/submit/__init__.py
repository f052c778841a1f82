"""Runs on Kubeflow, Vertex AI and Argo: started, followed, refused."""
