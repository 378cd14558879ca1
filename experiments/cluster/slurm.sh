#!/bin/bash
# One run by many tasks. Submit again (or let SLURM requeue it) and it goes on where it was.
#
#   sbatch --ntasks=40 slurm.sh DIR survey styblinski_tang --param dim=10 --starts 10000000
#   sbatch --ntasks=8 slurm.sh DIR resume
#
#SBATCH --job-name=jaxgd
#SBATCH --ntasks=16
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=TERM@120
# SIGTERM comes 120 s before the end: each task finishes the descents under way and reports; it loses the block that it
# was at, as does a task that is killed.

set -euo pipefail
directory=$1 command=$2
shift 2
case $command in
    survey) set -- survey "$@" --out "$directory" ;;
    resume) set -- resume "$directory" "$@" ;;
    *) echo "usage: sbatch slurm.sh DIR survey NAME ... | DIR resume" >&2; exit 2 ;;
esac

# --kill-on-bad-exit=0: a task that is lost stops no other. Devices are what the task may use: its cores or its GPUs.
exec srun --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" --kill-on-bad-exit=0 --wait=0 --label jaxgd "$@"
