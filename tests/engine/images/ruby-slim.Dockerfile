# Shaped like ruby:3.1-slim: the interpreter and bundler, no compiler.
FROM debian:bookworm-slim
ENV GEM_HOME=/usr/local/bundle BUNDLE_SILENCE_ROOT_WARNING=1 BUNDLE_APP_CONFIG=/usr/local/bundle
ENV PATH=/usr/local/bundle/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update \
 && apt-get install -y --no-install-recommends ruby ruby-rubygems ruby-bundler ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /usr/local/bundle && chmod 1777 /usr/local/bundle
CMD ["irb"]
