// vcsim-lab is a vCenter for tests: govmomi's simulator with changed block
// tracking, snapshot chains, real disk bytes, faults, and a resolver for the
// stub libvixDiskLib. See the README of this module.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/control"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/vddk"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("vcsim-lab: ")
	if err := run(parseFlags()); err != nil {
		log.Fatal(err)
	}
}

// settings are the flags that lab.Options does not hold.
type settings struct {
	options         lab.Options
	inventoryFile   string
	infoFile        string
	parentDir       string
	certFile        string
	keyFile         string
	passwordFile    string
	missing         string
	trace           bool
	exitWithParent  bool
	vddkSessions    int
	snapshotDelayMs int
}

func parseFlags() settings {
	model := simulator.VPX()
	s := settings{options: lab.Options{Model: model}}
	flag.IntVar(&model.Datacenter, "dc", model.Datacenter, "datacenters")
	flag.IntVar(&model.Cluster, "cluster", model.Cluster, "clusters per datacenter")
	flag.IntVar(&model.ClusterHost, "host", model.ClusterHost, "hosts per cluster")
	flag.IntVar(&model.Host, "standalone-host", model.Host, "standalone hosts per datacenter")
	flag.IntVar(&model.Datastore, "ds", model.Datastore, "datastores per datacenter")
	flag.IntVar(&model.Machine, "vm", model.Machine, "VMs per resource pool, beside those of -inventory")
	flag.IntVar(&model.Portgroup, "pg", model.Portgroup, "distributed port groups per datacenter")
	flag.IntVar(&model.Folder, "folder", model.Folder, "folders around datacenters")
	flag.StringVar(&s.options.Listen, "l", "127.0.0.1:0", "listen address of the SOAP port")
	flag.StringVar(&s.options.User, "username", "administrator@vsphere.local", "login user")
	flag.StringVar(&s.passwordFile, "password-file", "", "file that holds the login password (default: lab-password)")
	flag.IntVar(&s.options.MaxAreas, "max-areas", 2000, "changed areas per QueryChangedDiskAreas answer")
	flag.DurationVar(&s.options.SessionTimeout, "session-timeout", 0, "idle time after which a session ends (0: that of the simulator)")
	diskMB := flag.Int64("disk-mb", 64, "capacity of the model's disks in MiB")
	flag.StringVar(&s.inventoryFile, "inventory", "", "JSON file that describes VMs to create")
	flag.StringVar(&s.certFile, "tlscert", "", "certificate, PEM (default: a fresh self-signed one)")
	flag.StringVar(&s.keyFile, "tlskey", "", "key of the certificate, PEM")
	flag.StringVar(&s.missing, "missing-privilege", "", "privileges that the user lacks, separated by commas")
	flag.IntVar(&s.vddkSessions, "vddk-limit", 0, "most VDDK sessions at once (0: no limit)")
	flag.IntVar(&s.snapshotDelayMs, "snapshot-delay-ms", 0, "how long CreateSnapshot tasks stay running")
	flag.StringVar(&s.parentDir, "dir", "", "where the lab makes its temporary directory (default: the system's)")
	flag.StringVar(&s.infoFile, "info", "", "write addresses and thumbprints to this JSON file when ready")
	flag.BoolVar(&s.exitWithParent, "exit-with-parent", false, "end when standard input is closed")
	flag.BoolVar(&s.trace, "trace", false, "trace SOAP to standard error")
	flag.Parse()
	s.options.ModelDiskBytes = *diskMB << 20
	return s
}

// run keeps a lab up until a signal or the parent's end.
func run(s settings) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if s.exitWithParent {
		go stopAtEOF(os.Stdin, stop)
	}
	dir, err := os.MkdirTemp(s.parentDir, "vcsim-lab-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// The simulator puts its datastores into the system's temporary directory.
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	s.options.Dir = dir
	simulator.Trace = s.trace
	if err := s.loadFiles(); err != nil {
		return err
	}
	server, err := lab.Start(s.options)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := s.serveBeside(server); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func stopAtEOF(in io.Reader, stop func()) {
	_, _ = io.Copy(io.Discard, in)
	stop()
}

func (s *settings) loadFiles() error {
	s.options.Password = "lab-password"
	if s.passwordFile != "" {
		password, err := os.ReadFile(s.passwordFile)
		if err != nil {
			return err
		}
		s.options.Password = strings.TrimSuffix(string(password), "\n")
	}
	if s.inventoryFile != "" {
		inventory, err := lab.ReadInventory(s.inventoryFile)
		if err != nil {
			return err
		}
		s.options.Inventory = inventory
	}
	if s.certFile != "" {
		pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		if err != nil {
			return err
		}
		s.options.Certificate = &pair
	}
	return nil
}

// serveBeside opens the control port and the resolver, and says where
// everything is.
func (s *settings) serveBeside(server *lab.Server) error {
	if s.missing != "" {
		server.SetMissingPrivileges(strings.Split(s.missing, ","))
	}
	server.SetTaskDelay("CreateSnapshot_Task", time.Duration(s.snapshotDelayMs)*time.Millisecond)
	resolver := vddk.NewResolver(server, vddk.Login{
		User: server.User, Password: server.Password, SHA1: server.SHA1Thumbprint(), SHA256: server.SHA256Thumbprint(),
	})
	resolver.Change(func(b *vddk.Behaviour) { b.SessionLimit = s.vddkSessions })
	resolverPort, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	controlPort, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go resolver.Serve(resolverPort)
	go func() { _ = http.Serve(controlPort, control.Handler(server, resolver)) }()
	return s.announce(server, resolverPort.Addr(), controlPort.Addr())
}

func (s *settings) announce(server *lab.Server, resolver, control net.Addr) error {
	info, err := json.MarshalIndent(map[string]string{
		"sdk":              server.URL,
		"control":          "http://" + control.String(),
		"resolver":         resolver.String(),
		"user":             server.User,
		"password":         server.Password,
		"thumbprintSha1":   server.SHA1Thumbprint(),
		"thumbprintSha256": server.SHA256Thumbprint(),
		"certificatePem":   server.CertificatePEM(),
	}, "", "  ")
	if err != nil {
		return err
	}
	if s.infoFile == "" {
		fmt.Println(string(info))
		return nil
	}
	return writeAtomically(s.infoFile, append(info, '\n'))
}

// writeAtomically makes the file appear complete or not at all: whoever waits
// for it may read as soon as it is there.
func writeAtomically(path string, data []byte) error {
	scratch, err := os.CreateTemp(filepath.Dir(path), ".info-")
	if err != nil {
		return err
	}
	if _, err = scratch.Write(data); err == nil {
		err = scratch.Close()
	}
	if err == nil {
		err = os.Rename(scratch.Name(), path)
	}
	if err != nil {
		_ = os.Remove(scratch.Name())
	}
	return err
}
