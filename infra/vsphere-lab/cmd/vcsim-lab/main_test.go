package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/types"
)

// The test binary becomes the program when this variable is set.
const asProgram = "VCSIM_LAB_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func startProgram(t *testing.T, flags ...string) (program *exec.Cmd, dir string, closeInput func()) {
	t.Helper()
	dir = t.TempDir()
	info := filepath.Join(dir, "info.json")
	program = exec.Command(os.Args[0], append([]string{"-vm", "0", "-dir", dir, "-info", info}, flags...)...)
	program.Env = append(os.Environ(), asProgram+"=1")
	input, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill() })
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		text, err := os.ReadFile(info)
		if err != nil {
			continue
		}
		var parsed map[string]string
		if err := json.Unmarshal(text, &parsed); err != nil || parsed["sdk"] == "" || parsed["control"] == "" {
			t.Fatalf("the info file was seen unfinished: %q", text)
		}
		return program, dir, func() { _ = input.Close() }
	}
	t.Fatal("the program did not become ready")
	return nil, "", nil
}

func expectCleanEnd(t *testing.T, program *exec.Cmd, dir string) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the program ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the program did not end")
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 || entries[0].Name() != "info.json" {
		t.Errorf("left behind: %v", entries)
	}
}

func TestASignalEndsTheLabAndRemovesItsFiles(t *testing.T) {
	program, dir, _ := startProgram(t)
	_ = program.Process.Signal(syscall.SIGTERM)
	expectCleanEnd(t, program, dir)
}

func TestAClientThatWaitsForUpdatesDoesNotHoldUpTheEnd(t *testing.T) {
	program, dir, _ := startProgram(t)
	text, _ := os.ReadFile(filepath.Join(dir, "info.json"))
	var info map[string]string
	_ = json.Unmarshal(text, &info)
	u, _ := url.Parse(info["sdk"])
	u.User = url.UserPassword(info["user"], info["password"])
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client, err := govmomi.NewClient(ctx, u, true)
	if err != nil {
		t.Fatal(err)
	}
	root := client.ServiceContent.RootFolder
	go func() {
		_ = property.Wait(ctx, property.DefaultCollector(client.Client), root, []string{"name"}, func([]types.PropertyChange) bool {
			return false
		})
	}()
	time.Sleep(200 * time.Millisecond)
	_ = program.Process.Signal(syscall.SIGTERM)
	begun := time.Now()
	expectCleanEnd(t, program, dir)
	if took := time.Since(begun); took > 3*time.Second {
		t.Errorf("the end took %s", took)
	}
}

func TestTheLabEndsWithItsParent(t *testing.T) {
	program, dir, closeInput := startProgram(t, "-exit-with-parent")
	closeInput()
	expectCleanEnd(t, program, dir)
}
