package control

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/vmware/govmomi/simulator"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/vddk"
)

const mib = 1 << 20

// port is the control port of a lab with one VM.
type port struct {
	t      *testing.T
	server *httptest.Server
	vm     string
}

func newPort(t *testing.T) *port {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	model := simulator.VPX()
	model.Machine = 0
	server, err := lab.Start(lab.Options{
		Model: model, Dir: t.TempDir(), User: "u", Password: "p",
		Inventory: &lab.Inventory{VMs: []lab.VMSpec{{Name: "vm", ChangeTracking: true, Disks: []lab.DiskSpec{{SizeBytes: mib}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	http := httptest.NewServer(Handler(server, vddk.NewResolver(server, vddk.Login{})))
	t.Cleanup(http.Close)
	return &port{t, http, server.State()[0].Ref}
}

func (p *port) do(method, path, body string) (status int, answer string) {
	p.t.Helper()
	path = strings.ReplaceAll(path, "VM", p.vm)
	request, err := http.NewRequest(method, p.server.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		p.t.Fatal(err)
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	return response.StatusCode, strings.TrimSpace(string(text))
}

func (p *port) ok(method, path, body string) string {
	p.t.Helper()
	status, answer := p.do(method, path, body)
	if status != http.StatusOK {
		p.t.Errorf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

func TestEveryCallWorks(t *testing.T) {
	p := newPort(t)
	p.ok("POST", "/write?vm=VM&key=2000&offset=3", "hello")
	p.ok("POST", "/touch?vm=VM&key=2000&offset=0&length=10", "")
	if got := p.ok("GET", "/disk?vm=VM&key=2000", ""); !strings.HasPrefix(got, "\x00\x00\x00hello") {
		t.Errorf("the disk holds %q", got[:8])
	}
	p.ok("POST", "/discard?vm=VM&key=2000&offset=0&length=65536", "")
	var taken struct{ Snapshot string }
	_ = json.Unmarshal([]byte(p.ok("POST", "/user-snapshot?vm=VM&name=mine", "")), &taken)
	p.ok("POST", "/revert?snapshot="+taken.Snapshot, "")
	p.ok("GET", "/disk?vm=VM&key=2000&snapshot="+taken.Snapshot, "")
	p.ok("POST", "/remove-snapshot?snapshot="+taken.Snapshot, "")
	p.ok("POST", fmt.Sprintf("/resize?vm=VM&key=2000&sizeBytes=%d", 2*mib), "")
	if got := p.ok("POST", fmt.Sprintf("/add-disk?vm=VM&sizeBytes=%d", mib), ""); got != `{"key":2001}` {
		t.Error(got)
	}
	p.ok("POST", "/remove-disk?vm=VM&key=2001", "")
	p.ok("POST", "/power?vm=VM&on=0", "")
	p.ok("POST", "/cbt-reset?vm=VM", "")
	p.ok("POST", "/lie?beyondBytes=1", "")
	p.ok("POST", "/fault?method=CreateSnapshot_Task&fault=FileFault&count=1", "")
	p.ok("POST", "/fault-clear", "")
	p.ok("POST", "/missing-privileges?ids=a,b", "")
	p.ok("POST", "/task-delay?method=CreateSnapshot_Task&ms=0", "")
	p.ok("POST", "/expire-sessions", "")
	p.ok("POST", "/http-fault?status=503&count=0", "")
	for _, call := range []string{"fail?text=x", "limit?sessions=1", "open-delay?ms=1", "latency?us=1", "read-error?offset=512", "no-extents?on=1"} {
		p.ok("POST", "/vddk-"+call, "")
	}
	p.ok("POST", "/create", `{"vms":[{"name":"second","disks":[{"sizeBytes":1048576}]}]}`)
	p.ok("GET", "/sessions", "")
	var state struct{ VMs []lab.VMState }
	if err := json.Unmarshal([]byte(p.ok("GET", "/state", "")), &state); err != nil || len(state.VMs) != 2 {
		t.Errorf("%d VMs, %v", len(state.VMs), err)
	}
}

func TestMistakesAreAnsweredWithAReason(t *testing.T) {
	p := newPort(t)
	for path, want := range map[string]int{
		"/write?vm=vm-0&key=1&offset=0":        http.StatusNotFound,
		"/write?vm=VM&key=1&offset=0":          http.StatusNotFound,
		"/write?vm=VM&offset=0":                http.StatusBadRequest,
		"/write?vm=VM&key=2000&offset=x":       http.StatusBadRequest,
		"/write?vm=VM&key=2000&offset=1048575": http.StatusBadRequest,
		"/resize?vm=VM&key=2000&sizeBytes=512": http.StatusConflict,
		"/fault?method=x&fault=NoSuchFault":    http.StatusBadRequest,
		"/remove-snapshot?snapshot=snapshot-0": http.StatusNotFound,
		"/power?vm=VM":                         http.StatusBadRequest,
		"/create":                              http.StatusBadRequest,
		"/no-such-call":                        http.StatusNotFound,
	} {
		if got, answer := p.do("POST", path, "two"); got != want || answer == "" {
			t.Errorf("%s: got %d %q, want %d", path, got, answer, want)
		}
	}
}
