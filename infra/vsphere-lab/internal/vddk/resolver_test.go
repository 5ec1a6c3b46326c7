package vddk

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

var login = Login{User: "user", Password: "s3cret", SHA1: "AA:BB", SHA256: "CC:DD"}

// opener answers every open in the same way and remembers the last one.
type opener struct {
	err  error
	last lab.VDDKOpen
}

func (o *opener) OpenForVDDK(open lab.VDDKOpen) (string, int64, error) {
	o.last = open
	return "/disks/a b.vmdk", 1024, o.err
}

func start(t *testing.T, o *opener) (*Resolver, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := NewResolver(o, login)
	go r.Serve(listener)
	return r, listener.Addr().String()
}

// ask opens a disk as the stub does; closing the connection closes the disk.
func ask(t *testing.T, address string, fields ...string) (answer string, disk net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	fmt.Fprintln(conn, strings.Join(fields, "\t"))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line), conn
}

func good() []string {
	return []string{"moref=vm-1", "snapshot-2", "[ds] x.vmdk", "user", "s3cret", "aa:bb", "1"}
}

func with(index int, value string) []string {
	fields := good()
	fields[index] = value
	return fields
}

func TestAnOpenIsAnsweredWithFileAndBehaviour(t *testing.T) {
	o := &opener{}
	r, address := start(t, o)
	r.Change(func(b *Behaviour) { b.ReadLatency, b.FailingSector, b.NoExtents = 5*time.Millisecond, 8, true })
	answer, _ := ask(t, address, good()...)
	if want := "OK\t/disks/a b.vmdk\t1024\t5000\t8\t1"; answer != want {
		t.Errorf("got %q, want %q", answer, want)
	}
	if want := (lab.VDDKOpen{VM: "vm-1", Snapshot: "snapshot-2", File: "[ds] x.vmdk", ReadOnly: true}); o.last != want {
		t.Errorf("asked for %+v", o.last)
	}
}

func TestEitherThumbprintIsGood(t *testing.T) {
	_, address := start(t, &opener{})
	if answer, _ := ask(t, address, with(5, "CC:DD")...); !strings.HasPrefix(answer, "OK") {
		t.Error(answer)
	}
}

func TestRefusalsHaveVDDKsCodes(t *testing.T) {
	for what, c := range map[string]struct {
		fields []string
		err    error
		want   string
	}{
		"thumbprint":        {with(5, "00:11"), nil, "ERR\t1\tUnknown error"},
		"no thumbprint":     {with(5, ""), nil, "ERR\t1\tUnknown error"},
		"user":              {with(3, "other"), nil, "ERR\t3014\t" + lab.ErrDenied.Error()},
		"password":          {with(4, "wrong"), nil, "ERR\t3014\t" + lab.ErrDenied.Error()},
		"malformed request": {[]string{"x"}, nil, "ERR\t3\tThe request of the stub is malformed"},
		"locked disk":       {good(), lab.ErrLocked, "ERR\t16392\t" + lab.ErrLocked.Error()},
		"unknown file":      {good(), lab.ErrFileUnknown, "ERR\t4\t" + lab.ErrFileUnknown.Error()},
		"writable snapshot": {good(), lab.ErrReadOnly, "ERR\t3014\t" + lab.ErrReadOnly.Error()},
	} {
		r, address := start(t, &opener{err: c.err})
		if got, _ := ask(t, address, c.fields...); got != c.want {
			t.Errorf("%s: got %q, want %q", what, got, c.want)
		}
		if n := r.Sessions(); n != 0 {
			t.Errorf("%s: %d sessions are open", what, n)
		}
	}
}

func TestSessionsAreCountedAndLimited(t *testing.T) {
	r, address := start(t, &opener{})
	r.Change(func(b *Behaviour) { b.SessionLimit = 1 })
	_, first := ask(t, address, good()...)
	if n := r.Sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
	if got, _ := ask(t, address, good()...); got != "ERR\t13\tNFC session limit reached" {
		t.Error(got)
	}
	_ = first.Close()
	for deadline := time.Now().Add(5 * time.Second); r.Sessions() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got, _ := ask(t, address, good()...); !strings.HasPrefix(got, "OK") {
		t.Error(got)
	}
}

func TestOpensCanFailAndTakeTime(t *testing.T) {
	r, address := start(t, &opener{})
	r.Change(func(b *Behaviour) { b.FailText, b.OpenDelay = "The host is gone", 50*time.Millisecond })
	begun := time.Now()
	if got, _ := ask(t, address, good()...); got != "ERR\t1\tThe host is gone" {
		t.Error(got)
	}
	if time.Since(begun) < 50*time.Millisecond {
		t.Error("the open took no time")
	}
}
