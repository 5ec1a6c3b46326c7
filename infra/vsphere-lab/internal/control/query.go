package control

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sendense/sendense/infra/vsphere-lab/internal/extent"
	"github.com/sendense/sendense/infra/vsphere-lab/internal/lab"
)

// query reads the parameters of one call; the first error stays.
type query struct {
	values url.Values
	err    error
}

func (q *query) text(name string) string { return q.values.Get(name) }

func (q *query) required(name string) string {
	if !q.values.Has(name) {
		q.fail(fmt.Errorf("the parameter %q is missing", name))
	}
	return q.values.Get(name)
}

func (q *query) number(name string, otherwise int64) int64 {
	text := q.values.Get(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 0, 64)
	if err != nil {
		q.fail(fmt.Errorf("the parameter %q is no number: %w", name, err))
	}
	return n
}

func (q *query) flag(name string) bool { return q.number(name, 0) != 0 }

func (q *query) milliseconds(name string) time.Duration {
	return time.Duration(q.number(name, 0)) * time.Millisecond
}

func (q *query) list(name string) []string {
	if q.values.Get(name) == "" {
		return nil
	}
	return strings.Split(q.values.Get(name), ",")
}

func (q *query) disk() lab.DiskRef {
	ref := lab.DiskRef{VM: q.required("vm")}
	q.required("key")
	ref.Key = int32(q.number("key", 0))
	return ref
}

func (q *query) area() extent.Extent {
	q.required("length")
	return extent.Extent{Offset: q.number("offset", 0), Length: q.number("length", 0)}
}

func (q *query) fail(err error) {
	if q.err == nil {
		q.err = err
	}
}
