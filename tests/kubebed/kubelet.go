package main

// What the API server asks of a node over HTTPS: the logs of containers, and the verdict of an
// admission webhook that refuses pods which ask for it.

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registrationv1 "k8s.io/api/admissionregistration/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// denyAnnotation of a pod has the webhook refuse it, with the annotation's value as the reason.
const denyAnnotation = "kubebed/deny"

const denyPath = "/deny"

// serveKubeletAPI listens and returns the port.
func (a *agent) serveKubeletAPI() (int32, error) {
	cert, err := tls.LoadX509KeyPair(a.o.pki("server.crt"), a.o.pki("server.key"))
	if err != nil {
		return 0, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		return 0, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{ns}/{pod}/{container}", a.serveLogs)
	mux.HandleFunc("POST "+denyPath, serveDenial)
	go http.Serve(l, mux)
	return int32(l.Addr().(*net.TCPAddr).Port), nil
}

// serveLogs answers `kubectl logs`, with its options --tail and --follow.
func (a *agent) serveLogs(w http.ResponseWriter, r *http.Request) {
	run := a.find(r.PathValue("ns"), r.PathValue("pod"))
	if run == nil {
		http.Error(w, "no such pod", http.StatusNotFound)
		return
	}
	f, err := os.Open(run.logPath(r.PathValue("container")))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	defer f.Close()
	if n, err := strconv.Atoi(r.FormValue("tailLines")); err == nil {
		var lines int
		for s := bufio.NewReader(f); ; lines++ {
			if _, err := s.ReadString('\n'); err != nil {
				break
			}
		}
		f.Seek(0, io.SeekStart)
		s := bufio.NewReader(f)
		for ; lines > n; lines-- {
			s.ReadString('\n')
		}
		io.Copy(w, s)
	}
	for {
		io.Copy(w, f)
		if r.FormValue("follow") != "true" || r.Context().Err() != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-run.done:
			io.Copy(w, f)
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// find returns the run of a pod by its name.
func (a *agent) find(namespace, name string) *podRun {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pods {
		if p.pod.Namespace == namespace && p.pod.Name == name {
			return p
		}
	}
	return nil
}

// createDenial registers the webhook. Pods without the annotation are never sent to it.
func (a *agent) createDenial(ctx context.Context, port int32) error {
	ca, err := os.ReadFile(a.o.pki("ca.crt"))
	if err != nil {
		return err
	}
	url := fmt.Sprintf("https://127.0.0.1:%d%s", port, denyPath)
	fail, none := registrationv1.Fail, registrationv1.SideEffectClassNone
	_, err = a.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &registrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "kubebed-deny"},
		Webhooks: []registrationv1.ValidatingWebhook{{
			Name:                    "deny.kubebed.test",
			ClientConfig:            registrationv1.WebhookClientConfig{URL: &url, CABundle: ca},
			FailurePolicy:           &fail,
			SideEffects:             &none,
			AdmissionReviewVersions: []string{"v1"},
			Rules: []registrationv1.RuleWithOperations{{
				Operations: []registrationv1.OperationType{registrationv1.Create},
				Rule:       registrationv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}},
			}},
			MatchConditions: []registrationv1.MatchCondition{{
				Name:       "asked-for",
				Expression: fmt.Sprintf("has(object.metadata.annotations) && %q in object.metadata.annotations", denyAnnotation),
			}},
		}},
	}, metav1.CreateOptions{})
	return err
}

func serveDenial(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	var pod v1.Pod
	err := json.NewDecoder(r.Body).Decode(&review)
	if err == nil {
		err = json.Unmarshal(review.Request.Object.Raw, &pod)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	review.Response = &admissionv1.AdmissionResponse{
		UID: review.Request.UID, Allowed: false,
		Result: &metav1.Status{Message: pod.Annotations[denyAnnotation]},
	}
	review.Request = nil
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(review)
}
