package lab

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"

	"github.com/vmware/govmomi/vim25/soap"
)

const currentTime = `<?xml version="1.0"?><Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>` +
	`<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime></Body></Envelope>`

// serveFolder puts the login that a real host asks for in front of /folder;
// the simulator asks for none.
func (s *Server) serveFolder(w http.ResponseWriter, r *http.Request) {
	if !s.hasPassword(r) && !s.hasSession(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="VMware HTTP server"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.service.ServeDatastore(w, r)
}

func (s *Server) hasPassword(r *http.Request) bool {
	user, password, ok := r.BasicAuth()
	return ok && user == s.User && password == s.Password
}

// hasSession asks the simulator itself whether the cookie is good.
func (s *Server) hasSession(r *http.Request) bool {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return false
	}
	probe := httptest.NewRequest(http.MethodPost, "/sdk", strings.NewReader(currentTime))
	probe.AddCookie(cookie)
	answer := httptest.NewRecorder()
	s.service.ServeSDK(answer, probe)
	return answer.Code == http.StatusOK
}

// HTTPFault disturbs SOAP calls below SOAP: the connection is cut, or a proxy
// answers in vCenter's place.
type HTTPFault struct {
	Status int  // 0 cuts the connection without an answer.
	After  bool // The call is carried out before the answer is lost.
	Count  int  // How many calls.
}

type httpGate struct {
	fault atomic.Pointer[HTTPFault]
	left  atomic.Int64
}

// SetHTTPFault disturbs the next calls.
func (s *Server) SetHTTPFault(fault HTTPFault) {
	s.gate.fault.Store(&fault)
	s.gate.left.Store(int64(fault.Count))
}

func (g *httpGate) next() *HTTPFault {
	if g.left.Load() <= 0 || g.left.Add(-1) < 0 {
		return nil
	}
	return g.fault.Load()
}

func (s *Server) serveSOAP(w http.ResponseWriter, r *http.Request) {
	fault := s.gate.next()
	if fault == nil {
		s.service.ServeSDK(w, r)
		return
	}
	body, _ := io.ReadAll(r.Body)
	if fault.After {
		again := r.Clone(r.Context())
		again.Body = io.NopCloser(bytes.NewReader(body))
		s.service.ServeSDK(httptest.NewRecorder(), again)
	}
	if fault.Status == 0 {
		panic(http.ErrAbortHandler) // net/http then closes the connection, silently.
	}
	http.Error(w, http.StatusText(fault.Status), fault.Status)
}
