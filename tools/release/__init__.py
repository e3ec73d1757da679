"""What a release is made of, and its checks: `make release-check`, and the workflows under .github."""
