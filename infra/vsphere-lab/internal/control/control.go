// Package control is the side door of a lab: an HTTP port on loopback by
// which a test plays the guest, the other administrator and bad luck. It is no
// part of the emulated product and asks for no login.
package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/vddk"
)

// Handler serves the control calls for one lab. The table of calls is in the
// README.
func Handler(server *lab.Server, resolver *vddk.Resolver) http.Handler {
	c := &control{lab: server, vddk: resolver}
	mux := http.NewServeMux()
	for pattern, call := range c.calls() {
		mux.HandleFunc(pattern, serve(call))
	}
	mux.HandleFunc("GET /disk", c.readDisk)
	return mux
}

type control struct {
	lab  *lab.Server
	vddk *vddk.Resolver
}

// call does one thing; what it returns is sent as JSON.
type call func(q *query, body io.Reader) (any, error)

func (c *control) calls() map[string]call {
	return map[string]call{
		"GET /state":               c.state,
		"GET /sessions":            c.sessions,
		"POST /write":              c.write,
		"POST /touch":              c.touch,
		"POST /discard":            c.discard,
		"POST /create":             c.create,
		"POST /resize":             c.resize,
		"POST /add-disk":           c.addDisk,
		"POST /remove-disk":        c.removeDisk,
		"POST /power":              c.power,
		"POST /user-snapshot":      c.userSnapshot,
		"POST /remove-snapshot":    c.removeSnapshot,
		"POST /revert":             c.revert,
		"POST /cbt-reset":          c.resetTracking,
		"POST /lie":                c.lie,
		"POST /fault":              c.fault,
		"POST /fault-clear":        c.clearFaults,
		"POST /missing-privileges": c.missingPrivileges,
		"POST /task-delay":         c.taskDelay,
		"POST /expire-sessions":    c.expireSessions,
		"POST /http-fault":         c.httpFault,
		"POST /vddk-fail":          c.vddkFail,
		"POST /vddk-limit":         c.vddkLimit,
		"POST /vddk-open-delay":    c.vddkOpenDelay,
		"POST /vddk-latency":       c.vddkLatency,
		"POST /vddk-read-error":    c.vddkReadError,
		"POST /vddk-no-extents":    c.vddkNoExtents,
	}
}

// serve turns a call into a handler: errors become 400, 404 or 409 with the
// reason as text.
func serve(do call) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q := &query{values: r.URL.Query()}
		answer, err := do(q, r.Body)
		if err == nil && q.err != nil {
			err = q.err
		}
		if err != nil {
			http.Error(w, err.Error(), statusOf(err))
			return
		}
		if answer == nil {
			answer = struct{}{}
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(answer)
	}
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, lab.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, lab.ErrRefused):
		return http.StatusConflict
	default:
		return http.StatusBadRequest
	}
}

// readDisk streams the raw bytes of a disk; ranges work.
func (c *control) readDisk(w http.ResponseWriter, r *http.Request) {
	q := &query{values: r.URL.Query()}
	ref := q.disk()
	if q.err != nil {
		http.Error(w, q.err.Error(), http.StatusBadRequest)
		return
	}
	file, err := c.lab.OpenDisk(ref, q.text("snapshot"))
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", st.ModTime(), file)
}

// state is everything a test wants to know about VMs, and what is still open.
func (c *control) state(*query, io.Reader) (any, error) {
	return map[string]any{
		"vms":          c.lab.State(),
		"vddkSessions": c.vddk.Sessions(),
		"soapSessions": len(c.lab.Sessions()),
	}, nil
}

func (c *control) sessions(*query, io.Reader) (any, error) { return c.lab.Sessions(), nil }

func (c *control) expireSessions(*query, io.Reader) (any, error) {
	return map[string]any{"ended": c.lab.ExpireSessions()}, nil
}

func (c *control) create(_ *query, body io.Reader) (any, error) {
	inventory := &lab.Inventory{}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(inventory); err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	refs, err := c.lab.Create(inventory)
	return map[string]any{"refs": refs}, err
}
