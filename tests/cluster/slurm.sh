#!/usr/bin/env bash
# A one-machine Slurm for the cluster tests: slurm.sh install | up | down. Debian or Ubuntu, as root, no systemd needed.
# A group asks for the threads of its jobs that may run at once: SLURM_CPUS=4 says that a node of fewer cores has four.
# Touches no configuration but its own: an existing slurm.conf is taken for a real cluster's and left alone.
set -euo pipefail
STATE=${SLURM_STATE:-/tmp/spotweave-slurm}
# The executor's job step drops SLURM_CONF, so the file must be at the default place.
CONF=/etc/slurm/slurm.conf
MARK="# written by spotweave's cluster tests"
HOST=$(hostname -s)

install_packages() {
  local packages=(slurmctld slurmd slurm-client munge slurm-wlm-basic-plugins)
  dpkg -s "${packages[@]}" >/dev/null 2>&1 && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
}

stop() {
  local name pid
  for name in slurmd slurmctld munged; do
    [ -s "$STATE/$name.pid" ] || continue
    pid=$(cat "$STATE/$name.pid")
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
    rm -f "$STATE/$name.pid"
  done
  ! grep -qsxF "$MARK" $CONF || rm -f $CONF
}

start_munge() {
  munge -n </dev/null >/dev/null 2>&1 && return
  local folder=$STATE/munge
  mkdir -p "$folder" /run/munge
  [ -s "$folder/munge.key" ] || head -c 1024 /dev/urandom >"$folder/munge.key"
  chown -R munge:munge "$folder" /run/munge
  chmod 755 "$folder" /run/munge
  chmod 400 "$folder/munge.key"
  setpriv --reuid munge --regid munge --clear-groups /usr/sbin/munged --key-file="$folder/munge.key" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
  for _ in $(seq 50); do [ -s "$folder/munged.pid" ] && break; sleep 0.1; done
  cp "$folder/munged.pid" "$STATE/munged.pid"
}

write_configuration() {
  if [ -s $CONF ] && ! grep -qxF "$MARK" $CONF; then
    echo "$CONF is there and not ours: using that cluster" >&2
    exit 0
  fi
  mkdir -p /etc/slurm "$STATE/state" "$STATE/spool"
  cat >$CONF <<END
$MARK
ClusterName=spotweave
SlurmctldHost=$HOST(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$STATE/slurmctld.pid
SlurmdPidFile=$STATE/slurmd.pid
SlurmdSpoolDir=$STATE/spool
StateSaveLocation=$STATE/state
SlurmctldLogFile=$STATE/slurmctld.log
SlurmdLogFile=$STATE/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
SwitchType=switch/none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
MinJobAge=600
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName=$HOST NodeAddr=127.0.0.1 CPUs=${SLURM_CPUS:-$(env -u OMP_NUM_THREADS nproc)} RealMemory=$(awk '/MemTotal/{print int($2/1024*0.9)}' /proc/meminfo)
PartitionName=main Nodes=$HOST Default=YES MaxTime=INFINITE State=UP
END
}

case ${1:-} in
install) install_packages ;;
up)
  mkdir -p "$STATE"
  chmod 755 "$STATE"
  write_configuration
  start_munge
  /usr/sbin/slurmctld
  /usr/sbin/slurmd -N "$HOST"
  for _ in $(seq 100); do timeout 5 sinfo -h -o %t 2>/dev/null | grep -qx idle && exit 0; sleep 0.2; done
  echo "Slurm did not come up; see $STATE/*.log" >&2
  exit 1
  ;;
down) stop ;;
*) echo "usage: slurm.sh install | up | down" >&2; exit 2 ;;
esac
