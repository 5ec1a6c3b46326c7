package lab

import (
	"crypto/tls"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// Options say what to start.
type Options struct {
	Model          *simulator.Model // simulator.VPX() when nil.
	Listen         string           // "127.0.0.1:0" when empty.
	User, Password string
	Dir            string // Where frozen disks go; must exist.
	ModelDiskBytes int64  // Capacity of the disks that the model makes.
	MaxAreas       int    // Changed areas per answer.
	SessionTimeout time.Duration
	Certificate    *tls.Certificate // A fresh self-signed one when nil.
	Inventory      *Inventory
	Log            *log.Logger
}

// Server is a lab that listens.
type Server struct {
	*Lab
	URL         string // Of the SOAP endpoint.
	Certificate []byte // DER.
	User        string
	Password    string

	model  *simulator.Model
	server *simulator.Server
	gate   *httpGate
}

// Start builds the inventory and listens.
func Start(options Options) (*Server, error) {
	options = options.withDefaults()
	model := options.Model
	model.ServiceContent.About.ApiVersion = "8.0.3.0"
	model.ServiceContent.About.Version = "8.0.3"
	model.ServiceContent.About.InstanceUuid = uuid.NewString()
	if err := model.Create(); err != nil {
		return nil, err
	}
	l := attach(model, options.Dir, options.MaxAreas, options.Log)
	s := &Server{Lab: l, User: options.User, Password: options.Password, model: model, gate: &httpGate{}}
	if err := s.fillInventory(options); err != nil {
		s.model.Remove()
		return nil, err
	}
	if err := s.listen(options); err != nil {
		s.model.Remove()
		return nil, err
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Model == nil {
		o.Model = simulator.VPX()
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.MaxAreas == 0 {
		o.MaxAreas = 2000
	}
	if o.ModelDiskBytes == 0 {
		o.ModelDiskBytes = 64 << 20
	}
	if o.Log == nil {
		o.Log = log.New(os.Stderr, "vcsim-lab: ", log.LstdFlags)
	}
	return o
}

func (s *Server) fillInventory(options Options) error {
	for _, state := range s.State() {
		for _, disk := range state.Disks {
			// The model's disks are created with 10 GiB each; give them the wanted size.
			if err := s.setCapacity(DiskRef{state.Ref, disk.Key}, options.ModelDiskBytes); err != nil {
				return err
			}
		}
		if err := s.prepareVM(state.Ref); err != nil {
			return err
		}
	}
	if options.SessionTimeout > 0 {
		s.registry.OptionManager().UpdateOptions(&types.UpdateOptions{ChangedValue: []types.BaseOptionValue{
			&types.OptionValue{Key: "config.vmacore.soap.sessionTimeout", Value: options.SessionTimeout.String()},
		}})
	}
	if options.Inventory == nil {
		return nil
	}
	_, err := s.Create(options.Inventory)
	return err
}

func (l *Lab) setCapacity(ref DiskRef, sizeBytes int64) error {
	return l.withDisk(ref, func(_ *simulator.Context, _ *simulator.VirtualMachine, disk *types.VirtualDisk) error {
		disk.CapacityInBytes, disk.CapacityInKB = sizeBytes, sizeBytes/1024
		return nil
	})
}

func (s *Server) listen(options Options) error {
	certificate := options.Certificate
	if certificate == nil {
		fresh, err := selfSigned()
		if err != nil {
			return err
		}
		certificate = fresh
	}
	service := s.service
	service.TLS = &tls.Config{Certificates: []tls.Certificate{*certificate}}
	service.Listen = &url.URL{Host: options.Listen, User: url.UserPassword(options.User, options.Password)}
	service.ServeMux = http.NewServeMux()
	// Patterns with a method win over the simulator's own.
	for _, method := range []string{"GET", "PUT", "POST"} {
		service.ServeMux.HandleFunc(method+" /folder/", s.serveFolder)
	}
	service.ServeMux.HandleFunc("GET /nfc/", serveLease)
	service.ServeMux.HandleFunc("POST /sdk", s.serveSOAP)
	s.server = service.NewServer()
	s.Certificate = certificate.Certificate[0]
	s.URL = "https://" + s.server.URL.Host + "/sdk"
	return nil
}

// closePatience is how long Close waits for calls in progress. A client's
// WaitForUpdatesEx does not notice that its connection is gone.
const closePatience = 200 * time.Millisecond

// Close stops listening and removes the disks.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	closed := make(chan struct{})
	go func() {
		s.server.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closePatience):
	}
	s.model.Remove()
}
