#!/usr/bin/env bash
# A real Kubernetes of one node for tests/kubernetes, made of Debian's packages alone.
#
#   cluster.sh packages   install what the others need
#   cluster.sh build      compile Kubernetes, once: 7 minutes on two cores; later calls return at once
#   cluster.sh up         start the cluster and a registry of images; wait until the node is ready
#   cluster.sh env        print the variables that point kubectl and the tests at it
#   cluster.sh down       stop all that `up` started, and delete its state
#
# API server, controllers, scheduler, kubelet and kube-proxy are 1.20, from the source of Debian 12's
# own package; containerd, etcd, a registry, cluster DNS and RBAC are as on any cluster. It changes
# the machine (packages, /etc/containers, a bridge), so it is for continuous integration and for
# throw-away machines, as root. There is no metrics server (autoscalers are accepted and do not
# scale), no provisioner of volumes, and nothing that enforces network policies.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CLUSTER=${TEST_CLUSTER_HOME:-/opt/test-kubernetes}
BIN=$CLUSTER/bin
RUN=$CLUSTER/run
NODE_IP=10.244.0.1 # the bridge: pods reach servers on this machine here
REGISTRY=127.0.0.1:5000

say() { echo "[cluster] $*" >&2; }

packages() {
    local install=$ROOT/deploy/test/install-missing.sh
    [[ -x $BIN/kube-apiserver ]] || "$install" golang-go dpkg-dev gcc libc6-dev golang-github-modern-go-reflect2-dev
    "$install" etcd-server containerd containernetworking-plugins runc podman docker-registry \
        mmdebstrap dnsmasq-base iptables iproute2 conntrack socat openssl gcc libc6-dev
    command -v kubectl >/dev/null || "$install" kubernetes-client
}

# --- the programs -------------------------------------------------------------------------------

# Debian's own source package, read by a list of sources of its own: the machine's stays as it is.
fetch_source() {
    local work=$1
    mkdir -p "$work"/{src/k8s.io,parts,lists/partial}
    sed 's/^Types: deb$/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > "$work/parts/src.sources"
    local apt=(-o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$work/parts"
        -o "Dir::State::Lists=$work/lists")
    apt-get "${apt[@]}" update -qq
    (cd "$work" && apt-get "${apt[@]}" source -qq kubernetes >/dev/null 2>&1)
    mv "$work"/kubernetes-*/ "$work/src/k8s.io/kubernetes"
    # Its reflect2 1.0.1 crashes the API server with Go 1.18 and newer, at custom resources for one.
    local vendored=$work/src/k8s.io/kubernetes/vendor/github.com/modern-go/reflect2
    rm "$vendored"/*.{go,s}
    cp /usr/share/gocode/src/github.com/modern-go/reflect2/*.{go,s} "$vendored"
}

# The one part of the source that is generated at each build.
generate_openapi() {
    local work=$1 folders
    go build -o "$work/openapi-gen" ./vendor/k8s.io/kube-openapi/cmd/openapi-gen
    folders=$(grep -rlE '^// \+k8s:openapi-gen=true' --include='*.go' pkg staging/src | xargs -n1 dirname |
        sort -u | grep -vE '_test|code-generator|sample-' |
        sed -e 's#^staging/src/#k8s.io/kubernetes/vendor/#' -e 's#^pkg#k8s.io/kubernetes/pkg#' | paste -sd,)
    : > "$work/header.txt"
    "$work/openapi-gen" -O zz_generated.openapi -h "$work/header.txt" --input-dirs "$folders" \
        -p k8s.io/kubernetes/pkg/generated/openapi -r "$work/violations.txt"
}

build() {
    [[ -x $BIN/kube-apiserver ]] && return
    packages
    local work=$CLUSTER/build version=k8s.io/kubernetes/vendor/k8s.io/component-base/version
    rm -rf "$work"
    mkdir -p "$BIN"
    fetch_source "$work"
    say "compiling Kubernetes (about 7 minutes)"
    (
        cd "$work/src/k8s.io/kubernetes"
        export GOPATH=$work GO111MODULE=off GOPROXY=off CGO_ENABLED=0 GOCACHE=$work/cache
        generate_openapi "$work"
        mkdir "$work/bin"
        go build -o "$work/bin/" \
            -ldflags "-s -w -X $version.gitVersion=v1.20.2 -X $version.gitMajor=1 -X $version.gitMinor=20" \
            ./cmd/kube-apiserver ./cmd/kube-controller-manager ./cmd/kube-scheduler ./cmd/kubelet ./cmd/kube-proxy
    )
    # The API server last: where it is, all are.
    mv "$work"/bin/kube-[cps]* "$work/bin/kubelet" "$BIN/"
    mv "$work/bin/kube-apiserver" "$BIN/"
    rm -rf "$work"
}

# --- the cluster --------------------------------------------------------------------------------

# Whether what `start` noted runs: another process may have its number, but works elsewhere.
alive() {
    local process
    process=$(cat "$1.pid" 2>/dev/null) || return 1
    [[ $(readlink "/proc/$process/cwd" 2>/dev/null) == "$RUN" ]] ||
        grep -qaF "$RUN" "/proc/$process/cmdline" 2>/dev/null
}

start() {
    local name=$1
    shift
    alive "$name" && return
    setsid nohup "$@" > "logs/$name.log" 2>&1 < /dev/null &
    echo $! > "$name.pid"
}

wait_for() {
    local what=$1
    shift
    for _ in $(seq 180); do
        "$@" >/dev/null 2>&1 && return
        sleep 1
    done
    say "$what did not come up; see $RUN/logs"
    exit 1
}

certificates() {
    [[ -f pki/admin.crt ]] && return
    openssl req -x509 -newkey rsa:2048 -nodes -keyout pki/ca.key -out pki/ca.crt -subj /CN=test-ca -days 365 2>/dev/null
    openssl genrsa -out pki/sa.key 2048 2>/dev/null
    openssl rsa -in pki/sa.key -pubout -out pki/sa.pub 2>/dev/null
    sign apiserver /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes.default.svc,DNS:kubernetes.default,IP:127.0.0.1,IP:10.96.0.1,IP:$NODE_IP"
    sign admin /O=system:masters/CN=admin DNS:admin
}

sign() {
    openssl req -newkey rsa:2048 -nodes -keyout "pki/$1.key" -out "pki/$1.csr" -subj "$2" 2>/dev/null
    openssl x509 -req -in "pki/$1.csr" -CA pki/ca.crt -CAkey pki/ca.key -CAcreateserial -days 365 \
        -out "pki/$1.crt" -extfile <(printf 'subjectAltName=%s' "$3") 2>/dev/null
}

kubeconfig() {
    cat > admin.conf <<CONFIG
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: $(base64 -w0 pki/ca.crt)}}]
users: [{name: admin, user: {client-certificate-data: $(base64 -w0 pki/admin.crt), client-key-data: $(base64 -w0 pki/admin.key)}}]
contexts: [{name: test, context: {cluster: test, user: admin}}]
current-context: test
CONFIG
}

bridge() {
    ip link show cni0 >/dev/null 2>&1 && return
    ip link add cni0 type bridge
    ip addr add $NODE_IP/24 dev cni0
    ip link set cni0 up
    sysctl -qw net.ipv4.ip_forward=1 || true
}

registry() {
    mkdir -p /etc/containers/registries.conf.d
    printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" > /etc/containers/registries.conf.d/test.conf
    printf 'version: 0.1\nstorage: {filesystem: {rootdirectory: %s}, delete: {enabled: true}}\nhttp: {addr: "%s"}\n' \
        "$RUN/registry" "$REGISTRY" > registry.yml
    start registry docker-registry serve registry.yml
}

control_plane() {
    start etcd etcd --data-dir etcd --listen-client-urls http://127.0.0.1:2379 \
        --advertise-client-urls http://127.0.0.1:2379 --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync
    start apiserver "$BIN/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 --secure-port=6443 \
        --advertise-address=$NODE_IP --kubelet-preferred-address-types=InternalIP \
        --tls-cert-file=pki/apiserver.crt --tls-private-key-file=pki/apiserver.key \
        --client-ca-file=pki/ca.crt --service-account-key-file=pki/sa.pub \
        --service-account-signing-key-file=pki/sa.key --service-account-issuer=https://kubernetes.default.svc \
        --authorization-mode=RBAC --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true \
        --kubelet-client-certificate=pki/admin.crt --kubelet-client-key=pki/admin.key
    wait_for "the API server" kubectl get --raw /readyz
    start controller-manager "$BIN/kube-controller-manager" --kubeconfig=admin.conf \
        --service-account-private-key-file=pki/sa.key --root-ca-file=pki/ca.crt \
        --use-service-account-credentials --leader-elect=false
    start scheduler "$BIN/kube-scheduler" --kubeconfig=admin.conf --leader-elect=false
}

# This kind of machine may lack CAP_SYS_RESOURCE, hence runc and no lowered OOM scores.
container_runtime() {
    cat > containerd/config.toml <<CONFIG
version = 2
root = "$RUN/containerd/root"
state = "$RUN/containerd/state"
[grpc]
  address = "$RUN/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "$REGISTRY/pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$RUN/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."$REGISTRY"]
    endpoint = ["http://$REGISTRY"]
CONFIG
    cat > cni/10-bridge.conflist <<CONFIG
{"cniVersion":"0.4.0","name":"bridge","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":true,"hairpinMode":true,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.244.0.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
CONFIG
    start containerd containerd -c containerd/config.toml
}

# The container that holds a pod's network: it waits, and reaps nothing.
pause_image() {
    if ! podman image exists "$REGISTRY/pause:1"; then
        cat > pause.c <<'PROGRAM'
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
static void leave(int number) { (void)number; exit(0); }
int main(void) { signal(SIGTERM, leave); signal(SIGINT, leave); for (;;) pause(); }
PROGRAM
        mkdir -p pause-root
        gcc -static -Os -o pause-root/pause pause.c
        tar -C pause-root -c . | podman import -q --change 'ENTRYPOINT ["/pause"]' - "$REGISTRY/pause:1" >/dev/null
    fi
    podman push -q "$REGISTRY/pause:1" >/dev/null
}

node() {
    cat > kubelet.yaml <<CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $RUN/pki/ca.crt}, webhook: {enabled: false}}
authorization: {mode: AlwaysAllow}
clusterDNS: ["$NODE_IP"]
clusterDomain: cluster.local
evictionHard: {memory.available: "100Mi"}
imageGCHighThresholdPercent: 100 # never: on a full disk it would delete what the next pod needs
imageGCLowThresholdPercent: 99
oomScoreAdj: 0
CONFIG
    start kubelet "$BIN/kubelet" --config=kubelet.yaml --kubeconfig=admin.conf --container-runtime=remote \
        --container-runtime-endpoint="unix://$RUN/containerd/containerd.sock" --hostname-override=node1 \
        --node-ip=$NODE_IP --root-dir="$RUN/kubelet" --cert-dir="$RUN/pki"
    start proxy "$BIN/kube-proxy" --kubeconfig=admin.conf --hostname-override=node1 \
        --cluster-cidr=10.244.0.0/24 --proxy-mode=iptables \
        --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

# Cluster DNS: dnsmasq answers NAME.NAMESPACE.svc.cluster.local from a list of the services.
service_names() {
    cat > names.sh <<'PROGRAM'
line='{range .items[*]}{.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{"\n"}{end}'
while sleep 2; do
    kubectl get services -A -o jsonpath="$line" 2>/dev/null | grep -v '^None' > services &&
        ! cmp -s services hosts/services && mv services hosts/services
done
PROGRAM
    mkdir -p hosts
    touch hosts/services
    start names bash names.sh
    # Pods try every name within the cluster's domain first; the machine's own resolver, asked for
    # these, may take seconds to say no.
    start dns dnsmasq --keep-in-foreground --conf-file=/dev/null --listen-address=$NODE_IP \
        --bind-interfaces --hostsdir="$RUN/hosts" --local=/cluster.local/ --resolv-file=/etc/resolv.conf
}

up() {
    packages
    build
    "$ROOT/deploy/test/prepare.sh" # podman's settings, and the base image
    if [[ -d $RUN ]] && ! (cd "$RUN" && alive apiserver); then
        say "removing what an earlier cluster left"
        down
    fi
    mkdir -p "$RUN"/{pki,logs,etcd,kubelet,containerd,cni}
    cd "$RUN"
    export KUBECONFIG=$RUN/admin.conf
    certificates
    kubeconfig
    bridge
    registry
    control_plane
    container_runtime
    wait_for "the registry" curl -sf "http://$REGISTRY/v2/"
    pause_image
    node
    service_names
    wait_for "the node" sh -c "kubectl get nodes | grep -q ' Ready'"
    # All pods together weigh as much as two processes of the machine itself, unless told otherwise:
    # builds and tests beside them would starve them.
    echo 16384 2>/dev/null > /sys/fs/cgroup/cpu/kubepods/cpu.shares || true
    say "ready: eval \"\$($ROOT/tests/cluster/cluster.sh env)\""
}

print_env() {
    echo "export KUBECONFIG=$RUN/admin.conf TEST_CLUSTER_CONTEXT=test" \
        "TEST_CLUSTER_REGISTRY=$REGISTRY TEST_CLUSTER_HOST_IP=$NODE_IP"
}

down() {
    [[ -d $RUN ]] || return 0
    cd "$RUN"
    if alive apiserver; then
        KUBECONFIG=$RUN/admin.conf timeout 60 kubectl delete pods --all -A --grace-period=2 >/dev/null 2>&1 || true
    fi
    for name in proxy kubelet scheduler controller-manager names dns containerd apiserver etcd registry; do
        alive "$name" && kill "$(cat "$name.pid")" 2>/dev/null
        rm -f "$name.pid"
    done || true
    sleep 2
    # Containers outlive containerd: end what is left in this cluster's pods, then their shims.
    local process mount
    find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {} + 2>/dev/null | sort -un |
        while read -r process; do kill -9 "$process" 2>/dev/null || true; done
    for process in $(pgrep -f -- "-address $RUN/containerd/containerd.sock" || true); do
        kill -9 "$process" 2>/dev/null || true
    done
    awk -v run="$RUN/" '$2 ~ "^" run {print $2}' /proc/mounts | sort -r |
        while read -r mount; do umount -l "$mount" || true; done
    ip link delete cni0 2>/dev/null || true
    rm -rf "$RUN"
}

case ${1:-} in
    packages) packages ;;
    build) build ;;
    up) up ;;
    env) print_env ;;
    down) down ;;
    *) sed -n '4,8s/^# *//p' "$0"; exit 2 ;;
esac
