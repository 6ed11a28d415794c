{{/* The name that all objects carry: the release's, unless overridden. */}}
{{- define "serinus.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "serinus.selectorLabels" -}}
app.kubernetes.io/name: serinus
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "serinus.ownLabels" -}}
{{ include "serinus.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: serinus
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* The chart's own labels, which nothing takes the place of, and those of the values. */}}
{{- define "serinus.labels" -}}
{{- toYaml (merge (include "serinus.ownLabels" . | fromYaml) .Values.commonLabels) -}}
{{- end -}}

{{/* Annotations of the operator's pod; those of the values take precedence. */}}
{{- define "serinus.podAnnotations" -}}
{{- $annotations := dict "kubectl.kubernetes.io/default-container" "operator" -}}
{{- if .Values.metrics.scrapeAnnotations -}}
{{- $_ := set $annotations "prometheus.io/scrape" "true" -}}
{{- $_ := set $annotations "prometheus.io/port" "8080" -}}
{{- $_ := set $annotations "prometheus.io/path" "/metrics" -}}
{{- end -}}
{{- $annotations = mergeOverwrite $annotations .Values.podAnnotations -}}
{{- /* The operator reads its settings once: changed settings mean a new pod. */ -}}
{{- $_ := set $annotations "serinus.dev/config-checksum" (include "serinus.config" . | sha256sum) -}}
{{- toYaml $annotations -}}
{{- end -}}

{{- define "serinus.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "serinus.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A whole image reference. Takes a dict of `image`, a block of the values, and `defaultTag`. */}}
{{- define "serinus.image" -}}
{{- $repository := .image.repository -}}
{{- if .image.registry -}}
{{- $repository = printf "%s/%s" .image.registry .image.repository -}}
{{- end -}}
{{- if .image.digest -}}
{{- printf "%s@%s" $repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .defaultTag .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The operator's settings, as it reads them from its file. */}}
{{- define "serinus.config" -}}
server:
  image: {{ include "serinus.image" (dict "image" .Values.server.image "defaultTag" .Chart.AppVersion) | quote }}
  imagePullPolicy: {{ .Values.server.image.pullPolicy }}
  imagePullSecrets: {{ toJson .Values.server.imagePullSecrets }}
{{- with .Values.server.huggingFaceEndpoint }}
  huggingFaceEndpoint: {{ quote . }}
{{- end }}
  templateUpdates: {{ .Values.server.templateUpdates }}
{{- if .Values.tracing.otlpEndpoint }}
  tracing: {{ toJson .Values.tracing }}
{{- end }}
prometheus:
  url: {{ .Values.prometheus.url | quote }}
  scrapeInterval: {{ .Values.prometheus.scrapeInterval | quote }}
  timeout: {{ .Values.prometheus.timeout | quote }}
  namespaceLabel: {{ .Values.prometheus.namespaceLabel | quote }}
{{- if .Values.prometheus.secretName }}
  credentialsFolder: /etc/serinus-prometheus
{{- end }}
watchNamespaces: {{ toJson .Values.watchNamespaces }}
workers: {{ .Values.workers }}
limits: {{ toJson .Values.limits }}
{{- with .Values.gateway }}
{{- if .name }}
gateway:
  namespace: {{ required "gateway.namespace must be set together with gateway.name" .namespace }}
  name: {{ .name }}
  domain: {{ required "gateway.domain must be set together with gateway.name" .domain }}
{{- end }}
{{- end }}
models: {{ toJson .Values.models }}
tokenReview: {{ .Values.tokenReview.enabled }}
lease:
  namespace: {{ .Release.Namespace | quote }}
  name: {{ include "serinus.fullname" . }}
{{- end -}}

{{/* What the operator does, in each namespace that it looks after. */}}
{{- define "serinus.rules" -}}
- apiGroups: [serinus.dev]
  resources: [inferenceservices]
  verbs: [list, watch]
- apiGroups: [serinus.dev]
  resources: [inferenceservices/status]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs: [patch]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.gateway.name }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
