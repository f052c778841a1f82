#!/usr/bin/env bash
# Gives each step's service account, by EKS Pod Identity, what the step needs in the buckets of all runs on one bucket of
# slices, made yet or not:
#   manifests/aws/grant-rights.sh SOURCE_BUCKET CLUSTER
# Steps write objects, which on S3 is to replace them too; what each may remove: policies/.
set -euo pipefail
source=$1 cluster=$2
here=$(dirname "$0")
account=$(aws sts get-caller-identity --query Account --output text)

for step in plan align compose tile pyramid report; do
    role=fibstack-$step
    aws iam get-role --role-name "$role" >/dev/null 2>&1 ||
        aws iam create-role --role-name "$role" \
            --assume-role-policy-document "file://$here/trust.json" >/dev/null
    aws iam put-role-policy --role-name "$role" --policy-name "fibstack-runs-on-$source" \
        --policy-document "$(sed "s/SOURCE_BUCKET/$source/" "$here/policies/$step.json")"
    bound=$(aws eks list-pod-identity-associations --cluster-name "$cluster" --namespace fibstack \
        --service-account "fibstack-$step" --query 'length(associations)' --output text)
    [ "$bound" != 0 ] ||
        aws eks create-pod-identity-association --cluster-name "$cluster" --namespace fibstack \
            --service-account "fibstack-$step" --role-arn "arn:aws:iam::$account:role/$role" >/dev/null
done
