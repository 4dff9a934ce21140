# Generates the stubs of videttev1 from the repository's proto. Needs protoc (PROTOC="python -m grpc_tools.protoc" does as
# well), protoc-gen-go v1.36.12 and protoc-gen-go-grpc v1.6.2 on the PATH.
set -eu
module=vidette.dev/go/grpcsub
options="module=$module,Mvidette/v1/vidette.proto=$module/videttev1"
${PROTOC:-protoc} -I ../../../proto --go_out=. --go_opt="$options" --go-grpc_out=. --go-grpc_opt="$options" \
  vidette/v1/vidette.proto
