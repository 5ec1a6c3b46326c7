// Package vddk answers the stub libvixDiskLib: which file on this machine
// holds the disk that a client opens, and how that disk shall misbehave.
//
// The protocol is one line each way, fields separated by tabs. The stub sends
// vm, snapshot (or "-"), file, user, password, thumbprint and 1 for read-only;
// it gets
//
//	OK  path  capacity  latency-us  failing-sector  no-extents
//	ERR code  text
//
// and keeps the connection open for as long as the disk is open, so that open
// sessions can be counted.
package vddk

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

// Error codes of VDDK.
const (
	codeFail         = 1
	codeInvalidArg   = 3
	codeFileNotFound = 4
	codePermissions  = 3014
	codeSessionLimit = 13
	codeLocked       = 16392
)

// NoFailingSector says that all sectors can be read.
const NoFailingSector = -1

// Behaviour is how disks behave that are opened from now on.
type Behaviour struct {
	FailText      string // Opens fail with this text; empty lets them pass.
	SessionLimit  int    // Opens beyond that many open disks fail; 0 is no limit.
	OpenDelay     time.Duration
	ReadLatency   time.Duration
	FailingSector int64
	NoExtents     bool // The disk cannot say which blocks are allocated.
}

// Login is what the client has to know.
type Login struct{ User, Password, SHA1, SHA256 string }

// Opener finds the file behind a disk.
type Opener interface {
	OpenForVDDK(lab.VDDKOpen) (path string, capacityBytes int64, err error)
}

// Resolver answers stubs.
type Resolver struct {
	opener Opener
	login  Login

	mu        sync.Mutex
	behaviour Behaviour
	open      map[net.Conn]bool
}

// NewResolver makes a resolver that does not listen yet.
func NewResolver(opener Opener, login Login) *Resolver {
	return &Resolver{
		opener: opener, login: login, open: map[net.Conn]bool{},
		behaviour: Behaviour{FailingSector: NoFailingSector},
	}
}

// Change edits the behaviour.
func (r *Resolver) Change(edit func(*Behaviour)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	edit(&r.behaviour)
}

// Sessions counts the disks that are open.
func (r *Resolver) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

// Serve answers until the listener is closed.
func (r *Resolver) Serve(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go r.serve(conn)
	}
}

func (r *Resolver) serve(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	line, err := lines.ReadString('\n')
	if err != nil {
		return
	}
	answer, admitted := r.answer(conn, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	if admitted {
		defer r.leave(conn)
	}
	fmt.Fprintln(conn, answer)
	if admitted {
		_, _ = lines.ReadString('\n') // Until the stub closes the disk.
	}
}

// answer decides about one open; an admitted one counts as a session.
func (r *Resolver) answer(conn net.Conn, fields []string) (line string, admitted bool) {
	if len(fields) != 7 {
		return refuse(codeInvalidArg, "The request of the stub is malformed"), false
	}
	r.mu.Lock()
	behaviour := r.behaviour
	r.mu.Unlock()
	time.Sleep(behaviour.OpenDelay)
	if behaviour.FailText != "" {
		return refuse(codeFail, behaviour.FailText), false
	}
	if code, text := r.login.check(fields[3], fields[4], fields[5]); code != 0 {
		return refuse(code, text), false
	}
	if !r.enter(conn, behaviour.SessionLimit) {
		return refuse(codeSessionLimit, "NFC session limit reached"), false
	}
	path, capacity, err := r.opener.OpenForVDDK(openRequest(fields))
	if err != nil {
		r.leave(conn)
		return refuse(codeOf(err), err.Error()), false
	}
	return fmt.Sprintf("OK\t%s\t%d\t%d\t%d\t%d", path, capacity, behaviour.ReadLatency.Microseconds(),
		behaviour.FailingSector, number(behaviour.NoExtents)), true
}

func openRequest(fields []string) lab.VDDKOpen {
	snapshot := fields[1]
	if snapshot == "-" {
		snapshot = ""
	}
	return lab.VDDKOpen{
		VM: strings.TrimPrefix(fields[0], "moref="), Snapshot: snapshot, File: fields[2], ReadOnly: fields[6] == "1",
	}
}

func (r *Resolver) enter(conn net.Conn, limit int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if limit > 0 && len(r.open) >= limit {
		return false
	}
	r.open[conn] = true
	return true
}

func (r *Resolver) leave(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, conn)
}

// check compares in VDDK's own words: a wrong thumbprint is an unknown error.
func (l Login) check(user, password, thumbprint string) (code int, text string) {
	switch {
	case !strings.EqualFold(thumbprint, l.SHA1) && !strings.EqualFold(thumbprint, l.SHA256):
		return codeFail, "Unknown error"
	case user != l.User || password != l.Password:
		return codePermissions, lab.ErrDenied.Error()
	default:
		return 0, ""
	}
}

func codeOf(err error) int {
	switch {
	case errors.Is(err, lab.ErrVMUnknown), errors.Is(err, lab.ErrSnapshotUnknown), errors.Is(err, lab.ErrFileUnknown):
		return codeFileNotFound
	case errors.Is(err, lab.ErrDenied), errors.Is(err, lab.ErrReadOnly):
		return codePermissions
	case errors.Is(err, lab.ErrLocked):
		return codeLocked
	default:
		return codeFail
	}
}

func refuse(code int, text string) string { return fmt.Sprintf("ERR\t%d\t%s", code, text) }

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
