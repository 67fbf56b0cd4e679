# Shaped like ruby:3.1: gems live in /usr/local/bundle, a compiler is there. Gems are packed here and served as files.
FROM debian:bookworm-slim
ENV GEM_HOME=/usr/local/bundle BUNDLE_SILENCE_ROOT_WARNING=1 BUNDLE_APP_CONFIG=/usr/local/bundle
ENV PATH=/usr/local/bundle/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
RUN apt-get update \
 && apt-get install -y --no-install-recommends ruby ruby-dev ruby-rubygems ruby-bundler ruby-webrick gcc make libc6-dev ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && mkdir -p /usr/local/bundle && chmod 1777 /usr/local/bundle
COPY gems/ /usr/src/gems/
RUN /usr/src/gems/pack
CMD ["irb"]
