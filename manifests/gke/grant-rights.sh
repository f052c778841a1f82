#!/usr/bin/env bash
# Gives each step's service account what the step needs in the buckets of all runs on one bucket of slices, made yet
# or not:
#   manifests/gke/grant-rights.sh PROJECT SOURCE_BUCKET [objectUser]
# Steps create objects; with objectUser they may replace them too: docs/gke.md says when that is needed.
set -euo pipefail
project=$1 source=$2 writer=${3:-objectCreator}

number=$(gcloud projects describe "$project" --format 'value(projectNumber)')
accounts=principal://iam.googleapis.com/projects/$number/locations/global/workloadIdentityPools/$project.svc.id.goog
accounts+=/subject/ns/fibstack/sa

read_slices() { # STEP...
    for step; do
        gcloud storage buckets add-iam-policy-binding "gs://$source" --member "$accounts/fibstack-$step" \
            --role roles/storage.objectViewer --condition=None >/dev/null
    done
}

grant() { # STEP ROLE KIND...: the role on what lies in the buckets of these kinds, docs/buckets.md
    local step=$1 role=$2 name=resource.name buckets=projects/_/buckets/$source expression= kind
    for kind in "${@:3}"; do
        expression+=${expression:+ || }
        case $kind in
        process) # one bucket for all runs
            expression+="$name == '${buckets}_process' || $name.startsWith('${buckets}_process/')" ;;
        page) # in it, what each report of a run writes anew, and the note that it removes
            expression+="($name.startsWith('${buckets}_process/') &&"
            expression+=" ($name.endsWith('/report/index.html') || $name.endsWith('/run.json') ||"
            expression+=" $name.endsWith('/superseded.json')))" ;;
        refusal) # in it, why the run before was refused
            expression+="($name.startsWith('${buckets}_process/') && $name.endsWith('/refused.json'))" ;;
        *)
            expression+="$name.startsWith('${buckets}_${kind}_')" ;;
        esac
    done
    gcloud projects add-iam-policy-binding "$project" --member "$accounts/fibstack-$step" --role "$role" \
        --condition "title=fibstack runs on $source,expression=$expression" >/dev/null
}

remover=projects/$project/roles/fibstackRemover # no role of Google's deletes and does nothing else
gcloud iam roles describe fibstackRemover --project "$project" >/dev/null 2>&1 ||
    gcloud iam roles create fibstackRemover --project "$project" --stage GA \
        --permissions storage.objects.delete >/dev/null

view=roles/storage.objectViewer write=roles/storage.$writer
read_slices plan align tile
grant plan $view process
grant plan "$write" process
grant plan "$remover" refusal
grant align $view process
grant align "$write" process
grant compose $view process tmp ng chunk
grant compose "$write" process
grant tile $view process tmp
grant tile "$write" process tmp
grant pyramid $view process tmp ng chunk
grant pyramid "$write" process ng chunk
grant report $view process ng chunk
grant report "$write" process ng chunk
grant report "$remover" tmp page
