import type { TestMachine } from './test-machine.ts'

const SHARE_SERVER = '10.7.0.2'
const SHARE_SERVER_V6 = 'fd07::2'
const SMB_ACCOUNT = { username: 'hub', password: `a pass,word=of the "share'` } as const

/**
 * The kernel's NFS server and Samba, in the test machine, with a network, processes and mounts of their own: for the
 * Hub it is another machine. Each has three places, which share nothing: `backups`, of 128 MiB; `full`, without any
 * room; and `sealed`, where nobody may write.
 */
export class ShareServers {
  readonly address = SHARE_SERVER
  readonly addressV6 = SHARE_SERVER_V6
  readonly account = SMB_ACCOUNT
  readonly #machine: TestMachine

  private constructor(machine: TestMachine) {
    this.#machine = machine
  }

  static async start(machine: TestMachine): Promise<ShareServers> {
    await machine.run(NETWORK)
    const servers = new ShareServers(machine)
    await servers.run(PLACES)
    await Promise.all([servers.run(NFS), servers.run(SMB)])
    return servers
  }

  /** Runs a script of bash where the servers are. Their places are in `/srv/nfs` and `/srv/smb`. */
  run(script: string): Promise<string> {
    return this.#machine.run(`on-server bash -euo pipefail <<'SCRIPT'\n${script}\nSCRIPT\n`)
  }

  /** As when somebody pulls the plug: nothing answers any more, and nothing says so. */
  async fallSilent(): Promise<void> {
    await this.run('ip route add blackhole 10.7.0.1')
  }
}

const NETWORK = `
grep -q ^_rpc: /etc/passwd || echo '_rpc:x:950:65534::/:/usr/sbin/nologin' >>/etc/passwd
grep -q ^hub: /etc/passwd || echo 'hub:x:951:65534::/:/usr/sbin/nologin' >>/etc/passwd
modprobe veth
modprobe nfsd
# Whoever has locks gets this long to claim them again when an NFS server starts; here nobody has.
echo 1 >/proc/sys/fs/nfs/nlm_grace_period
setsid unshare --net --mount --propagation private sleep infinity >/dev/null 2>&1 </dev/null &
server=$!
cat >/usr/local/bin/on-server <<ON_SERVER
#!/bin/sh
exec nsenter --net --mount --target $server -- "\\$@"
ON_SERVER
chmod +x /usr/local/bin/on-server
until [ "$(readlink /proc/$server/ns/mnt)" != "$(readlink /proc/self/ns/mnt)" ]; do sleep 0.1; done
ip link add name to-server type veth peer name eth0 netns $server
ip address add 10.7.0.1/24 dev to-server
ip address add fd07::1/64 dev to-server nodad
ip link set to-server up
rpcbind -w`

const PLACES = `
ip link set lo up
ip address add ${SHARE_SERVER}/24 dev eth0
ip address add ${SHARE_SERVER_V6}/64 dev eth0 nodad
ip link set eth0 up
mount -t tmpfs tmpfs /run
for protocol in nfs smb; do
  mkdir -p /srv/$protocol
  mount -t tmpfs tmpfs /srv/$protocol
  cd /srv/$protocol
  mkdir backups full sealed
  mount -t tmpfs -o size=128m,mode=777 tmpfs backups
  mount -t tmpfs -o size=1m,mode=777 tmpfs full
  dd if=/dev/zero of=full/filler bs=64k 2>/dev/null || true
  mount -t tmpfs -o mode=777 tmpfs sealed
done`

const NFS = `
mkdir /run/rpcbind
rpcbind -w
rpc.statd
mount -t nfsd nfsd /proc/fs/nfsd
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
: >>/etc/exports
exportfs -o ro,no_subtree_check,fsid=0 '*:/srv/nfs'
exportfs -o rw,no_subtree_check,fsid=1 '*:/srv/nfs/backups'
exportfs -o rw,no_subtree_check,fsid=2 '*:/srv/nfs/full'
exportfs -o ro,no_subtree_check,fsid=3 '*:/srv/nfs/sealed'
rpc.mountd
rpc.nfsd 4`

const SMB = `
mkdir /run/samba
cat >/run/samba/smb.conf <<CONFIGURATION
[global]
server role = standalone server
smb ports = 445
disable netbios = yes
load printers = no
log file = /run/samba/log
state directory = /run/samba
cache directory = /run/samba
lock directory = /run/samba
pid directory = /run/samba
private dir = /run/samba
ncalrpc dir = /run/samba/ncalrpc
[backups]
path = /srv/smb/backups
read only = no
[full]
path = /srv/smb/full
read only = no
[sealed]
path = /srv/smb/sealed
CONFIGURATION
password="$(base64 -d <<<${Buffer.from(SMB_ACCOUNT.password).toString('base64')})"
printf '%s\\n%s\\n' "$password" "$password" | smbpasswd -c /run/samba/smb.conf -s -a ${SMB_ACCOUNT.username} >/dev/null
smbd --daemon --configfile=/run/samba/smb.conf`
